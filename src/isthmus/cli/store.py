"""``isthmus store``: stores of activations as a whole: parts put together, files checked."""

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.common import out

app = typer.Typer(no_args_is_help=True, help="Stores of activations: merge parts, check files.")

Store = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of the store")]


@app.command()
def merge(
    store: Store,
    parts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PART", help="folders of parts; by default those in DIR/parts"),
    ] = None,
) -> None:
    """Put the parts of a harvest together: the store that one process would have made.

    The part that ends last does so by itself where all are on one disk.
    """
    from isthmus.activations.merge import merge as merged
    from isthmus.cli.harvest import summary

    out.print(summary(merged(store, parts or ())))


@app.command()
def check(
    store: Annotated[str, typer.Argument(metavar="DIR", help="a store; also s3://bucket/name")],
) -> None:
    """Read every file of a store and compare it with its checksum."""
    from isthmus.activations import Store as Opened

    opened = Opened(store)
    opened.verify()
    files = sum(len(shard.checksums) for shard in opened.provenance.shards)
    out.print(f"{files} files with {len(opened):,} tokens are as they were written", markup=False)
