"""``isthmus plot``: a run, drawn."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli.common import Folder, out


def plot(
    folder: Folder,
    data: Annotated[
        str | None, typer.Argument(help="rows to look at; by default those of the run")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.png", help="where to write")
    ] = Path("plot.png"),
) -> None:
    """Draw a run: learning curves, reconstructions, and its codes.

    Codes are drawn in the plane; of a dictionary how often and how many latents fire, and of
    images the strongest atoms.
    """
    from isthmus import pictures
    from isthmus.pictures.sheet import check_png

    check_png(output)
    picture = pictures.plot(folder, data)
    out.print(escape(f"{picture.save(output)}: {picture.about}"), soft_wrap=True)
