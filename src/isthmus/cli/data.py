"""``isthmus data``: the data sets that have a name."""

import typer

from isthmus.cli.common import out

app = typer.Typer(invoke_without_command=True)


@app.callback()
def listed(context: typer.Context) -> None:
    """List the data sets that have a name."""
    if context.invoked_subcommand is None:
        from isthmus import data

        out.print("\n".join(data.names()))
