"""The command line: a file a command, each of which imports what it needs when it runs."""

import sys
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from isthmus.cli import (
    benchmark,
    compare,
    data,
    decode,
    doctor,
    encode,
    evaluate,
    export,
    fit,
    fit_many,
    harvest,
    inspect,
    label,
    plan,
    plot,
    publish,
    quantise,
    recipes,
    report,
    reproduce,
    resume,
    samples,
    score,
    show,
    similarity,
    steer,
    store,
    traverse,
    work,
)
from isthmus.errors import NO_MEMORY, IsthmusError, is_out_of_memory
from isthmus.spelling import folded

TRAIN, LOOK, DATA, CLAIMS = "Train", "Look", "Data", "Claims, and this machine"


class _InOrder(TyperGroup):
    """Commands in the order in which a newcomer meets them, groups of commands among them."""

    def list_commands(self, ctx: Any) -> list[str]:
        first = ("recipes", "show", "fit", "compare", "fit-many", "resume", "data")
        names = super().list_commands(ctx)
        return [*(n for n in first if n in names), *(n for n in names if n not in first)]


app = typer.Typer(
    cls=_InOrder,
    context_settings={"token_normalize_func": folded},  # of flags, too, either spelling will do
    help="Any autoencoder from the same few parts: train it on your data, compare, look inside.",
    epilog="To begin: isthmus fit vae digits -o run, then isthmus report run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _add(panel: str, command: Callable[..., None]) -> None:
    """A command, its docstring as help: a paragraph is one line, which the terminal wraps."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(rich_help_panel=panel, help=text)(command)


_add(TRAIN, recipes.recipes)
_add(TRAIN, show.show)
_add(TRAIN, fit.fit)
_add(TRAIN, compare.compare)
_add(TRAIN, fit_many.fit_many)
_add(TRAIN, resume.resume)
_add(TRAIN, work.work)
app.add_typer(plan.app, name="plan", rich_help_panel=TRAIN)
_add(LOOK, evaluate.evaluate)
_add(LOOK, similarity.similarity)
_add(LOOK, report.report)
_add(LOOK, plot.plot)
_add(LOOK, samples.samples)
_add(LOOK, traverse.traverse)
_add(LOOK, label.label)
_add(LOOK, steer.steer)
_add(LOOK, benchmark.benchmark)
_add(LOOK, inspect.inspect)
app.add_typer(data.app, name="data", rich_help_panel=DATA)
_add(DATA, harvest.harvest)
app.add_typer(store.app, name="store", rich_help_panel=DATA)
_add(DATA, encode.encode)
_add(DATA, decode.decode)
_add(DATA, score.score)
_add(DATA, export.export)
_add(DATA, publish.publish)
_add(DATA, quantise.quantise)
_add(CLAIMS, reproduce.reproduce)
_add(CLAIMS, doctor.doctor)


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
    except (MemoryError, RuntimeError) as problem:
        if not is_out_of_memory(problem):
            raise
        print(f"isthmus: {NO_MEMORY}", file=sys.stderr)
        sys.exit(2)
    except OSError as problem:  # a name that is too long, a folder that may not be read, ...
        place = "" if problem.filename is None else f"{problem.filename}: "
        print(f"isthmus: {place}{problem.strerror or problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"\nisthmus: {stop or 'stopped'}", file=sys.stderr)
        sys.exit(130)
