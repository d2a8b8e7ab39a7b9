"""``isthmus export``: a run's model as a graph, or in the layout of another library."""

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.markup import escape

from isthmus.cli.common import Folder, out
from isthmus.errors import IsthmusError, unknown


def export(
    folder: Folder,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="ends in .onnx or .pt2, or a new folder"
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="onnx or torch-export, by default by ending; saelens, sparsify or "
            "dictionary_learning",
        ),
    ] = None,
    piece: Annotated[
        str, typer.Option("--piece", metavar="PIECE", help="encoder, decoder or both")
    ] = "both",
) -> None:
    """Write a model as a graph of plain operators, scaler included: ONNX or torch.export.

    The file is checked against the model before it is written. What turns columns of a table or
    bytes of an image into what the model reads stays here. A linear dictionary is also written in
    the layout of another library, into a folder.
    """
    from isthmus import runs
    from isthmus.formats import WRITERS, write
    from isthmus.runs import graph

    if to is not None and to not in (*graph.ENDINGS, *WRITERS):
        raise unknown("format", to, [*graph.ENDINGS, *WRITERS])
    if to in WRITERS:
        if piece != "both":
            raise IsthmusError(f"{to} has no half of a dictionary: leave out --piece")
        record = write(runs.load(folder), output, to)
        out.print(f"{escape(str(output))}: {escape(record.formula())}")
        return
    about = graph.export(
        runs.load(folder), output,
        to=cast(graph.Format | None, to), piece=cast(graph.Piece, piece),
    )  # fmt: skip
    inputs = ", ".join(
        f"{name} ({', '.join(map(str, ['rows', *shape]))})"
        for name, shape in about["inputs"].items()
    )
    out.print(f"{escape(str(output))}: {inputs} -> {', '.join(about['outputs'])}")
    if piece != "decoder":
        out.print(f"reads {about['reads']}")
