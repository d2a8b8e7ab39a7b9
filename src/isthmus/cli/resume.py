"""``isthmus resume``: go on with a run."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli.common import (
    MaybeData,
    Options,
    Quiet,
    interruptible,
    out,
    parse_options,
)
from isthmus.errors import IsthmusError


def resume(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="the folder of a run; also s3://bucket/run")
    ],
    data: MaybeData = None,
    options: Options = None,
    quiet: Quiet = False,
) -> None:
    """Go on with an interrupted run, or the runs of fit-many, exactly where it was saved.

    By default the data are those of the run. steps=N or epochs=N make a run longer, a finished one
    too, to so many in all. ranks=N goes on with so many processes, whatever it began with.
    """
    import isthmus
    from isthmus.storage import is_remote
    from isthmus.training.many import read_manifest

    pairs = [*(options or [])]
    if data is not None and "=" in data and not Path(data.partition(":")[0]).exists():
        pairs, data = [data, *pairs], None
    longer = parse_options(pairs)
    ranks = longer.pop("ranks", "auto")
    with interruptible():
        if is_remote(folder) or read_manifest(Path(folder)) is None:
            isthmus.resume(folder, data, progress=not quiet, ranks=ranks, **longer)
        elif longer:
            raise IsthmusError(
                f"{folder} holds several runs of one pass: make each longer by its own folder"
            )
        else:
            isthmus.resume_many(folder, data, progress=not quiet)
    out.print(f"finished: {escape(folder)}")
