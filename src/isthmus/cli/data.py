"""``isthmus data``: the data sets that have a name; ``fetch`` and ``show`` them."""

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli import completion
from isthmus.cli.common import out

app = typer.Typer(invoke_without_command=True)

Names = Annotated[list[str], typer.Argument(metavar="NAME...", autocompletion=completion.data_sets)]


@app.callback()
def listed(context: typer.Context) -> None:
    """List the data sets that have a name; fetch public ones, or show their sources."""
    if context.invoked_subcommand is None:
        from isthmus.data import listing

        out.print(listing.table())


@app.command()
def fetch(
    names: Names,
    to: Annotated[
        Path | None, typer.Option(help="folder to fetch into, by default the cache")
    ] = None,
) -> None:
    """Get public sets from where they are published, checked and with their licences.

    They are found by their names from then on.
    """
    from isthmus.data import listing

    out.print("\n".join(map(str, listing.fetched(names, to))), soft_wrap=True, markup=False)


@app.command()
def show(names: Names) -> None:
    """Say what sets are: source, licence, citation, and where they lie."""
    from isthmus.data import listing

    out.print("\n\n".join(map(listing.shown, names)), soft_wrap=True)
