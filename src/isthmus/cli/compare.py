"""``isthmus compare``: which recipe suits the data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from isthmus import notices
from isthmus.cli import completion
from isthmus.cli.common import Data, Options, Quiet, interruptible, on_disk, out, parse_options
from isthmus.errors import unknown

if TYPE_CHECKING:
    from isthmus.comparison import Comparison

OWN = (
    "steps", "minutes", "batch_size", "latents", "width", "clusters",
    "kind", "axis", "size", "mode",
)  # fmt: skip


def compare(
    data: Data,
    options: Options = None,
    recipes: Annotated[
        str,
        typer.Option(
            help="names or package.module:function, by comma",
            autocompletion=completion.recipes_by_comma,
        ),
    ] = "plain,vae,topk",
    task: Annotated[
        str, typer.Option(help="reconstruct, cluster, anomaly, probe, density or compress")
    ] = "reconstruct",
    seeds: Annotated[int, typer.Option(min=1, help="splits and initialisations")] = 3,
    labels: Annotated[
        str | None, typer.Option(help="a column of the table, or a file with one label a row")
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="for the page and the tables", callback=on_disk
        ),
    ] = Path("comparison"),
    jobs: Annotated[int, typer.Option(min=1, help="processes that share the fits")] = 1,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="only write down what is to be done: isthmus work")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Compare recipes on your data: same split, same budget, baselines beside them.

    Options of the comparison (steps=, minutes= a fit, batch_size=, latents=, width=, clusters=)
    and of single recipes (vae.sigma=0.3) follow as NAME=VALUE. Fits are kept; the same command
    goes on.
    """
    settings = parse_options(options)
    methods = recipes.split(",")
    with interruptible():
        if jobs > 1 or prepare:
            shared(data, settings, methods, task, seeds, labels, output, 1 if prepare else jobs)
        if prepare:
            out.print(f"prepared; next: isthmus work {output}", markup=False)
        else:
            out.print(run(data, settings, methods, task, seeds, labels, output, not quiet))


def shared(
    data: str,
    given: Mapping[str, Any],
    recipes: Sequence[str],
    task: str,
    seeds: int,
    labels: str | None,
    output: Path,
    jobs: int,
) -> None:
    """Write down what is to be compared, and have so many processes do it; 1 only writes."""
    from isthmus.comparison import shared_fits
    from isthmus.comparison.method_names import named
    from isthmus.comparison.options import BATCH_SIZE, BudgetOptions
    from isthmus.comparison.tasks import BASELINES
    from isthmus.workers import start_here

    options, of_recipes = _sorted(given, list(named(recipes, BASELINES)))
    arguments = {
        **dict.fromkeys([*BudgetOptions.model_fields, "kind", "axis", "size", "mode", "prepare"]),
        "batch_size": BATCH_SIZE, **options, "labels": labels, "seeds": seeds,
        "options": of_recipes,
    }  # fmt: skip
    shared_fits.prepare(output, data, recipes, task, arguments, jobs)
    if jobs > 1:
        start_here(output, jobs)


def run(
    data: str,
    given: Mapping[str, Any],
    recipes: Sequence[str],
    task: str,
    seeds: int,
    labels: str | None,
    output: Path,
    progress: bool,
) -> RenderableType:
    """Compare, write the page and the tables, and return what is printed."""
    from isthmus.comparison.comparison_page import write_pages
    from isthmus.comparison.method_names import named
    from isthmus.comparison.next_steps import steps
    from isthmus.comparison.runner import compare as compared_by
    from isthmus.comparison.tasks import BASELINES
    from isthmus.comparison.winner import WINNER
    from isthmus.training.progress import ProgressBar

    compared = named(recipes, BASELINES)
    options, of_recipes = _sorted(given, list(compared))
    with ProgressBar("comparison", 1, "fits", progress) as bar:
        comparison = compared_by(
            data, compared, task, labels=labels, seeds=seeds, options=of_recipes, out=output,
            report=lambda what, done, total: bar.draw(done, done, what, total=total), **options,
        )  # fmt: skip
    write_pages(comparison, output)
    new = [note for note in comparison.prepared.notes if not notices.was_said(note)]
    notes = [Text(f"  {note}", style="dim") for note in new]
    omissions = [Text(f"  left out: {name}: {why}") for name, why in comparison.left_out.items()]
    verdict = comparison.verdict
    sentences = [Text(line, style="bold") for line in (verdict.sentence, verdict.warning) if line]
    ends = [Text(f"written to {output / 'index.html'}")]
    if comparison.winner is not None:
        next_one = steps(comparison, output)[0][1]
        ends.append(
            Text(f"{comparison.winner} fitted to all rows is saved in {output / WINNER}; next:")
        )
        # On a line of its own, which is not broken, to be copied.
        ends.append(Text(next_one, no_wrap=True, overflow="ignore"))
    return Group(table(comparison), *sentences, *notes, *omissions, *ends)


def table(found: "Comparison") -> Table:
    """Methods, the best first, with the first measures: what fits into 80 columns.

    The page has the others, all intervals and the numbers of parameters.
    """
    from isthmus.comparison.ranking_table import number
    from isthmus.comparison.tasks import BASELINES

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("method", no_wrap=True)
    measures = found.measures[:3]
    for measure in measures:
        grid.add_column(
            f"{measure.replace('_', ' ')} {'↑' if found.task.measures[measure] else '↓'}",
            overflow="fold", no_wrap=measure == found.measures[0],
        )  # fmt: skip
    grid.add_column("seconds", justify="right")
    for name in found.ranking:
        cells = []
        for place, measure in enumerate(measures):
            at = found.estimate(name, measure)
            # The page has all intervals; a terminal has room for those that rank.
            interval = f" [{number(at.low)}, {number(at.high)}]"
            cells.append(number(at.mean) + (interval if not place and at.low < at.high else ""))
        runs = found.of(name)
        cells.append(f"{sum(r.seconds for r in runs) / len(runs):.1f}")
        style = "dim" if name in BASELINES else ""
        grid.add_row(*(Text(cell, style) for cell in (name, *cells)))
    return grid


def _sorted(
    settings: Mapping[str, Any], recipes: Sequence[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Options of the comparison, and those of single recipes, ``recipe.option``."""
    options: dict[str, Any] = {}
    of_recipes: dict[str, dict[str, Any]] = {}
    names = {name.replace("-", "_"): name for name in recipes}
    for key, value in settings.items():
        head, dot, option = key.partition(".")
        if dot and head in names:
            of_recipes.setdefault(names[head], {})[option] = value
        elif head == "prepare" and dot:
            options.setdefault("prepare", {})[option] = value
        elif key in OWN:
            options[key] = value
        else:
            raise unknown("option of compare", key, [*OWN, *(f"{name}.OPTION" for name in recipes)])
    return options, of_recipes
