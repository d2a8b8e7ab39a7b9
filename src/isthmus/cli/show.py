"""``isthmus show``: the page of one recipe."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from isthmus.cli import completion
from isthmus.cli.common import out


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="a recipe, or package.module:function", autocompletion=completion.recipes
        ),
    ],
) -> None:
    """Show a recipe's page: idea, formula, reference, options with their defaults."""
    from isthmus.recipes import as_recipe, option_table
    from isthmus.recipes.sizes import lengths
    from isthmus.training import TrainingOptions

    recipe = as_recipe(name)
    number = f" · catalogue {recipe.catalogue}" if recipe.catalogue else ""
    out.print(f"[bold]{escape(recipe.name)}[/]  {escape(recipe.family)}{number}\n")
    for paragraph in recipe.doc.split("\n\n") if recipe.doc else ():
        out.print(escape(" ".join(paragraph.split())) + "\n")
    for title, text in (
        ("formula", recipe.formula),
        ("paper", recipe.paper or "no paper"),
        ("claim", recipe.claim),
        ("length", lengths(recipe)),
        ("from", "" if recipe.builtin else recipe.where),
    ):
        if text:
            out.print(f"[bold]{title}[/]  {escape(text)}\n")
    for title, rows in (
        ("options of this recipe", option_table(recipe.model_options, {})),
        ("options of every run", option_table(TrainingOptions, recipe.defaults)),
    ):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in ("name", "default", "description", "type"):
            table.add_column(column, no_wrap=column == "name")
        for row in rows:
            table.add_row(*(escape(row[c]) for c in ("name", "default", "description", "type")))
        out.print(table)
        out.print()
