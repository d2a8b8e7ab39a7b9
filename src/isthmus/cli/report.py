"""``isthmus report``: the page of a run."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli import completion
from isthmus.cli.common import Folder, interruptible, out


def report(
    folder: Folder,
    data: Annotated[
        str | None,
        typer.Argument(
            help="rows to look at; by default those that the run names",
            autocompletion=completion.data,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.html", help="by default DIR/report.html"),
    ] = None,
) -> None:
    """Write a page that shows a run and what its latents mean: one file, no network.

    Of a dictionary on a language model's activations the features are computed first, unless
    they are there already (DIR/features).
    """
    from isthmus.pages.run_page import written

    with interruptible():
        place, missing = written(folder, output, X=data)
    size = place.stat().st_size / 1e6
    out.print(f"{escape(str(place))}: {size:.1f} MB; open it in a browser")
    if missing:  # said on stderr already
        raise typer.Exit(1)
