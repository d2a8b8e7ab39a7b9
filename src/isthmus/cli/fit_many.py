"""``isthmus fit-many``: train several variants on one pass over the data."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.common import (
    Given,
    MaybeData,
    Options,
    Quiet,
    figures,
    interruptible,
    on_disk,
    out,
    read_toml,
    settled,
    taken,
    without_none,
)
from isthmus.errors import IsthmusError


def fit_many(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="the variants")],
    data: MaybeData = None,
    options: Options = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="where to save the runs, by name",
            callback=on_disk,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace runs that are already there")] = False,
    given: Given = None,
    quiet: Quiet = False,
) -> None:
    """Fit several models while the data are read once.

    The .toml file has a table for each, \\[variants.NAME], or [\\[variants]] to have them named by
    what differs, with recipe = "topk" and options; what stands above the tables, and NAME=VALUE
    here, holds for all: data = "x.npy", output = "runs", batch_size = 1024.
    """
    import isthmus

    pairs = [*(options or [])]
    settings = read_toml(sweep, "name the .toml file that lists the variants")
    if data is not None and "=" in data and "data" in settings:
        pairs, data = [data, *pairs], None
    data = data or taken(settings, "data", str(sweep))
    output = output or on_disk(Path(taken(settings, "output", str(sweep))))
    settings = settled(settings, pairs, given)
    variants = _variants(settings.pop("variants", None), sweep)
    with interruptible():
        models = isthmus.fit_many(
            variants, data, out=output, overwrite=overwrite, progress=not quiet, **settings
        )
    for name, model in models.items():
        out.print(f"{escape(name)}  {figures(model.history[-1])}")
    out.print(f"saved in {escape(str(output))}; next: isthmus evaluate {escape(str(output))}/NAME")


def _variants(value: Any, path: Path) -> Any:
    """The variants of a sweep, with none for "none"."""

    def plain(table: Any) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise IsthmusError(f"a variant of {path} is no table: write [variants.NAME]")
        return without_none(table)

    if isinstance(value, dict):
        return {name: plain(table) for name, table in value.items()}
    if isinstance(value, list):
        return [plain(table) for table in value]
    raise IsthmusError(f"{path} has no variants: add tables [variants.NAME]")
