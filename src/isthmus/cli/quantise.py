"""``isthmus quantise``: a run's dictionary in 8 or 4 bits."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli.common import Folder, on_disk, out
from isthmus.errors import IsthmusError


def quantise(
    folder: Folder,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FOLDER", help="where the new run goes", callback=on_disk
        ),
    ],
    bits: Annotated[int, typer.Option(help="8 or 4")] = 8,
) -> None:
    """Write a copy of a trained dictionary whose weights are whole numbers, for inference.

    Encode, evaluate, report and compare it as any run; its weights take a quarter or an eighth.
    """
    from isthmus import runs
    from isthmus.data.listing import readable_size
    from isthmus.networks import quantised

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise IsthmusError(f"{output} is there already: name a folder that is new or empty")
    model = runs.load(folder)
    small = quantised(model, bits)
    runs.save(small, output)
    before, after = (
        readable_size(sum(t.nbytes for t in m.state_dict().values())) for m in (model, small)
    )
    out.print(
        f"{escape(str(output))}: {after} of weights, {before} before; "
        f"isthmus evaluate {escape(str(output))} says what rounding costs",
        soft_wrap=True,
    )
