"""``isthmus export``: a run's model as a file that runs without this library."""

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.markup import escape

from isthmus.cli.common import Folder, out


def export(
    folder: Folder,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="ends in .onnx or .pt2")
    ],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FORMAT", help="onnx or torch-export; by default by ending"),
    ] = None,
    piece: Annotated[
        str, typer.Option("--piece", metavar="PIECE", help="encoder, decoder or both")
    ] = "both",
) -> None:
    """Write a model as a graph of plain operators, scaler included: ONNX or torch.export.

    The file is checked against the model before it is written. What turns columns of a table or
    bytes of an image into what the model reads stays here.
    """
    from isthmus import runs
    from isthmus.runs import graph

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
