"""``isthmus reproduce``: whether published claims hold: the arms, every seed, the verdict."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.cli import completion
from isthmus.cli.common import Quiet, interruptible, out

if TYPE_CHECKING:
    from isthmus.reproduction.results import Outcome
    from isthmus.reproduction.verdict import Finding
    from isthmus.studies import Check

COLOURS = {"holds": "green", "fails": "red", "undecided": "yellow"}


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="studies",
            show_default=False,
            autocompletion=completion.studies,
        ),
    ] = None,
    family: Annotated[str | None, typer.Option(help="all of this family")] = None,
    everything: Annotated[bool, typer.Option("--all", help="all there are")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="how many; by default each study's own number")
    ] = None,
    budget: Annotated[float, typer.Option(help="scales the work; verdicts count at 1")] = 1.0,
    jobs: Annotated[int | None, typer.Option(min=1, help="processes")] = None,
    pilot: Annotated[bool, typer.Option(help="run seed 0, which counts for nothing")] = False,
    again: Annotated[bool, typer.Option(help="run what is there already, too")] = False,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="where results are kept")
    ] = Path("reproductions"),
    quiet: Quiet = False,
) -> None:
    """Check published claims: run the experiments of studies and give the verdicts.

    Without a name, list the studies and what is known of each.
    """
    from isthmus import reproduction
    from isthmus.studies import studies
    from isthmus.training.progress import ProgressBar

    chosen = [*studies(family)] if everything or family else [*(names or [])]
    if not chosen:
        out.print(listed(output))
        return
    with interruptible(), ProgressBar("trials", 1, "trials", not quiet) as bar:
        outcomes = reproduction.reproduce(
            chosen, seeds=seeds, budget=budget, jobs=jobs, folder=output, pilot=pilot,
            again=again, report=lambda what, done, total: bar.draw(done, done, what, total=total),
        )  # fmt: skip
    for outcome in outcomes.values():
        out.print(shown(outcome))


def shown(outcome: "Outcome") -> RenderableType:
    """Everything that a reader needs to judge the verdict by."""
    about = outcome.study
    verdict, findings = outcome.judged()
    number = "" if about.catalogue is None else f"  catalogue {about.catalogue}"
    budget = "" if outcome.budget == 1.0 else f", at {outcome.budget:g} of the budget"
    parts: list[RenderableType] = [
        Text.assemble((about.name, "bold"), f"  {about.family}{number}"),
        Text(about.paper),
        Text.assemble(("claim   ", "bold"), about.statement),
        Text.assemble(("paper   ", "bold"), about.headline),
        Text.assemble(("here    ", "bold"), about.setting),
    ]
    parts += [Text.assemble("  ", (arm, "bold"), ": ", what) for arm, what in about.arms.items()]
    parts += [_figures(outcome, measure) for measure in _measures(outcome)]
    parts += [Padding(_check(found), (0, 0, 0, 2)) for found in findings]
    ended = f"  ({len(outcome.trials)} seeds, {outcome.minutes:.1f} minutes{budget})"
    parts.append(Text.assemble((verdict, f"bold {COLOURS[verdict]}"), ended))
    return Group(*parts, Text())


def listed(folder: Path) -> Table:
    """All studies with the verdicts that are kept in ``folder``."""
    from isthmus.reproduction.results import read_trials
    from isthmus.reproduction.runner import is_current
    from isthmus.reproduction.verdict import judge
    from isthmus.studies import studies

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("study", "verdict", "claim"):
        grid.add_column(column, no_wrap=column != "claim")
    for name, study in studies().items():
        trials = read_trials(folder, name, 1.0)
        verdict = judge(study, [trial.figures for trial in trials])[0] if trials else "not run"
        stale = "" if is_current(study, folder) in (None, True) else ", by older code"
        style = COLOURS.get(verdict, "")
        grid.add_row(name, Text(verdict + stale, style), Text(study.statement))
    return grid


def _measures(outcome: "Outcome") -> list[str]:
    found: dict[str, None] = {}
    for trial in outcome.trials:
        for measures in trial.figures.values():
            found.update(dict.fromkeys(measures))
    return list(found)


def _figures(outcome: "Outcome", measure: str) -> Table:
    """One measure: arms down, seeds across, then the mean with its interval."""
    from isthmus.evaluation.intervals import over_seeds

    grid = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    grid.add_column(measure, no_wrap=True)
    for trial in outcome.trials:
        grid.add_column(f"seed {trial.seed}", justify="right")
    grid.add_column("mean [95 %]")
    for arm in outcome.study.arms:
        values = [trial.figures[arm].get(measure, math.nan) for trial in outcome.trials]
        if not all(math.isnan(value) for value in values):
            grid.add_row(arm, *(f"{v:.4g}" for v in values), Text(str(over_seeds(values))))
    return grid


def _check(found: "Finding") -> Text:
    check = found.check
    lines = Text.assemble(
        (found.verdict, COLOURS[found.verdict]),
        "  ",
        check.text,
        _role(check),
        f"\n    {found.estimate}  asked {check.rule}",
    )
    if found.control is not None:
        how = "fails, as it must" if found.control_fails else "passes as well: nothing is decided"
        lines.append(f"\n    control {found.control}  {how}")
    return lines


def _role(check: "Check") -> str:
    if check.premise:
        return "  (a premise)"
    return "" if check.required else "  (not part of the verdict)"
