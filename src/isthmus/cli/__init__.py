"""The command line: a file a command, each of which imports what it needs when it runs."""

import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from isthmus.cli import (
    compare,
    data,
    decode,
    doctor,
    encode,
    evaluate,
    fit,
    fit_many,
    harvest,
    label,
    plot,
    recipes,
    report,
    reproduce,
    resume,
    samples,
    score,
    show,
    steer,
    traverse,
)
from isthmus.errors import IsthmusError
from isthmus.spelling import folded

TRAIN, LOOK, DATA, CLAIMS = "Train", "Look", "Data", "Claims, and this machine"


class _InOrder(TyperGroup):
    """Commands in the order in which a newcomer meets them, groups of commands among them."""

    def list_commands(self, ctx: Any) -> list[str]:
        first = ("recipes", "show", "fit", "compare", "fit-many", "resume", "data")
        found = super().list_commands(ctx)
        return [*(n for n in first if n in found), *(n for n in found if n not in first)]


app = typer.Typer(
    cls=_InOrder,
    context_settings={"token_normalize_func": folded},  # of flags, too, either spelling will do
    help="Any autoencoder from the same few parts: train it on your data, compare, look inside.",
    epilog="To begin: isthmus fit vae digits -o run, then isthmus report run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command(rich_help_panel=TRAIN)(recipes.recipes)
app.command(rich_help_panel=TRAIN)(show.show)
app.command(rich_help_panel=TRAIN)(fit.fit)
app.command(rich_help_panel=TRAIN)(compare.compare)
app.command(rich_help_panel=TRAIN)(fit_many.fit_many)
app.command(rich_help_panel=TRAIN)(resume.resume)
app.command(rich_help_panel=LOOK)(evaluate.evaluate)
app.command(rich_help_panel=LOOK)(report.report)
app.command(rich_help_panel=LOOK)(plot.plot)
app.command(rich_help_panel=LOOK)(samples.samples)
app.command(rich_help_panel=LOOK)(traverse.traverse)
app.command(rich_help_panel=LOOK)(label.label)
app.command(rich_help_panel=LOOK)(steer.steer)
app.add_typer(data.app, name="data", rich_help_panel=DATA)
app.command(rich_help_panel=DATA)(harvest.harvest)
app.command(rich_help_panel=DATA)(encode.encode)
app.command(rich_help_panel=DATA)(decode.decode)
app.command(rich_help_panel=DATA)(score.score)
app.command(rich_help_panel=CLAIMS)(reproduce.reproduce)
app.command(rich_help_panel=CLAIMS)(doctor.doctor)


def main() -> None:
    """Run the command line: what the user can mend is one sentence and exit code 2."""
    # As ``python -m`` does, so that a recipe in a file at hand can be named; but last, so that no
    # file there hides a package.
    if not sys.flags.safe_path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        app(prog_name="isthmus")
    except IsthmusError as problem:
        print(f"isthmus: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"\nisthmus: {stop or 'stopped'}", file=sys.stderr)
        sys.exit(130)
