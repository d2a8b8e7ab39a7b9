"""``isthmus fit``: train a recipe on data."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli import completion
from isthmus.cli.common import (
    Given,
    MaybeData,
    Options,
    Quiet,
    figures,
    interruptible,
    out,
    read_toml,
    settled,
    taken,
)
from isthmus.errors import IsthmusError


def fit(
    recipe: Annotated[
        str,
        typer.Argument(
            help="a recipe, package.module:function, or a .toml that names all this",
            autocompletion=completion.recipes_or_files,
        ),
    ],
    data: MaybeData = None,
    options: Options = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="DIR", help="where to save the run"),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace a run that is already there")] = False,
    given: Given = None,
    quiet: Quiet = False,
) -> None:
    """Fit a recipe to data and save it.

    Options are the recipe's and the trainer's, as NAME=VALUE: latent_dim=32 epochs=5 lr=1e-3
    (isthmus show RECIPE lists them). Without steps= or epochs= a run ends when nothing is gained
    any more; length=published is the recipe's page, minutes=5 a budget. start=RUN trains on from
    the weights of a run. ranks=8 trains by so many processes, and so does torchrun
    (docs/many-ranks.md).

    kind=, axis=, size= and mode= say how data are read (docs/data.md), prepare.quantiles=true and
    its like how a table is (docs/tables.md). Several arrays of an archive, or parts of a table,
    make a collection: two.npz:image,text or 'table.csv:left=a,b;right=c'. What a model asks for
    beside the examples is a column of the data: label=kind where the recipe asks for a label,
    --given NAME=COLUMN for any.

    A recipe of your own is written package.module:function; the current folder is looked in, last.
    A .toml file holds the same: recipe, data, output, and any options.
    """
    import isthmus
    from isthmus.storage import is_remote

    pairs = [*(options or [])]
    settings: dict[str, Any] = {}
    if recipe.endswith(".toml"):
        settings = read_toml(Path(recipe))
        if data is not None and "=" in data and "data" in settings:
            pairs, data = [data, *pairs], None
        recipe = taken(settings, "recipe", recipe)
        data = data or taken(settings, "data", recipe)
        output = output or taken(settings, "output", recipe)
    if data is None:
        raise IsthmusError("no data given: name a set, a file or a folder after the recipe")
    if output is None:
        raise IsthmusError("no place to save given: add -o DIR")
    settings = settled(settings, pairs, given)
    if "recipe" in settings:
        raise IsthmusError("recipe is no option of a run: name it first")
    settings.setdefault("ranks", "auto")
    with interruptible():
        model = isthmus.fit(
            recipe, data, out=output, overwrite=overwrite, progress=not quiet, **settings
        )
    out.print(figures(model.history[-1]))
    then = "isthmus.load in Python" if is_remote(output) else f"isthmus evaluate {escape(output)}"
    out.print(f"saved in {escape(output)}; next: {then}")
