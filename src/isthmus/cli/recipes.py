"""``isthmus recipes``: which recipes there are."""

import warnings
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from isthmus.cli.common import out
from isthmus.errors import IsthmusError


def recipes(
    word: Annotated[str | None, typer.Argument(help="only those that mention this word")] = None,
) -> None:
    """List the recipes."""
    from isthmus.recipes import broken_recipes, list_recipes

    broken = broken_recipes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below, as a sentence
        matches = list_recipes(word)
    if not matches:
        raise IsthmusError(f"no recipe mentions {word!r}: isthmus recipes lists them all")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "family", "idea"):
        table.add_column(column, no_wrap=column != "idea")
    for name, recipe in matches.items():
        table.add_row(escape(name), escape(recipe.family), escape(recipe.idea))
    out.print(table)
    for sentence in broken.values():
        out.print(escape(sentence))
