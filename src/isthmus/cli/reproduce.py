"""``isthmus reproduce``: what published claims are worth here: the arms, every seed, the word."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from isthmus.cli import completion
from isthmus.cli.common import Quiet, interruptible, out

if TYPE_CHECKING:
    from isthmus.reproduction.results import Outcome
    from isthmus.training.progress import ProgressBar

COLOURS = {
    "supported": "green",
    "contradicted": "red",
    "not resolved": "yellow",
    "not testable here": "bright_black",
}


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="claims",
            show_default=False,
            autocompletion=completion.claims,
        ),
    ] = None,
    family: Annotated[str | None, typer.Option(help="all of this family")] = None,
    everything: Annotated[bool, typer.Option("--all", help="all there are")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="how many; by default each claim's own number")
    ] = None,
    budget: Annotated[float, typer.Option(help="scales the work; words count at 1")] = 1.0,
    jobs: Annotated[int | None, typer.Option(min=1, help="processes")] = None,
    pilot: Annotated[
        bool,
        typer.Option(help="only what counts for nothing: rates, and at budget 1 the curve"),
    ] = False,
    again: Annotated[bool, typer.Option(help="run what is there already, too")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="say which kept results are out of date, by probes")
    ] = False,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="where results are kept")
    ] = Path("reproductions"),
    quiet: Quiet = False,
) -> None:
    """Check published claims: run their experiments and give the word on each.

    Without a name, list the claims and what is known of each.
    """
    from isthmus import reproduction
    from isthmus.errors import IsthmusError
    from isthmus.studies import claims, get_claim
    from isthmus.training.progress import ProgressBar

    if names and (family or everything):
        raise IsthmusError("name claims, or ask for a family or --all, not both")
    selection = [*claims(family)] if everything or family else [*(names or [])]
    if check:
        for name in selection:
            get_claim(name)
        with interruptible(), ProgressBar("probes", 1, "claims", not quiet) as bar:
            grid = checked(selection or [*claims()], output, budget, bar)
        out.print(grid)
        return
    if not selection:
        if pilot or again or seeds is not None or budget != 1.0:
            raise IsthmusError("name the claims that are to be run, or pass --all")
        out.print(listed(output))
        return
    with interruptible(), ProgressBar("trials", 1, "trials", not quiet) as bar:
        outcomes = reproduction.reproduce(
            selection, seeds=seeds, budget=budget, jobs=jobs, folder=output, pilot=pilot,
            again=again, report=lambda what, done, total: bar.draw(done, done, what, total=total),
        )  # fmt: skip
    for outcome in outcomes.values():
        out.print(shown(outcome))


def shown(outcome: "Outcome") -> RenderableType:
    """Everything that a reader needs to judge the word by, as the page of claims has it."""
    from isthmus.reproduction.claims_page import section

    text = section(outcome.to_dict())
    if outcome.budget != 1.0:
        share = f"{outcome.budget:g} of the steps"
        text += f"\nA first look at {share}: no word counts below all of them.\n"
    return Markdown(text)


def listed(folder: Path) -> Table:
    """All claims with the words that are kept in ``folder``."""
    from isthmus.errors import IsthmusError
    from isthmus.reproduction.results import kept
    from isthmus.reproduction.runner import status_of
    from isthmus.studies import claims

    grid = _grid("claim", "word", "statement")
    for name, claim in claims().items():
        try:
            outcome = kept(folder, claim, 1.0)
            word = str(outcome.judged().word) if outcome.trials else "not run"
            stale = "" if status_of(claim, folder) in (None, "current") else ", out of date"
        except IsthmusError:  # said where the claim is run
            word, stale = "unreadable", ""
        grid.add_row(name, Text(word + stale, COLOURS.get(word, "")), Text(claim.statement))
    return grid


def checked(names: list[str], folder: Path, budget: float, bar: "ProgressBar") -> Table:
    """Which kept results are what the code gives now: a probe of each, a few seconds."""
    from isthmus.reproduction.probes import probe, status
    from isthmus.reproduction.results import kept
    from isthmus.studies import get_claim

    grid = _grid("claim", "results", "by")
    for number, name in enumerate(names):
        bar.draw(number, number, name, total=len(names))
        claim = get_claim(name)
        outcome = kept(folder, claim, budget)
        stored = outcome.probe
        if stored is None:
            grid.add_row(name, "not run", "")
            continue
        now = probe(claim)
        state = status(stored, now)
        arms = [arm for arm in now.arms if stored.arms.get(arm) != now.arms[arm]]
        what = "its page" if stored.page != now.page else ", ".join(arms) or "weights"
        seeds = f"{state}, {len(outcome.trials)} of {claim.seeds} seeds"
        grid.add_row(name, seeds, "" if state == "current" else what)
    return grid


def _grid(*columns: str) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, no_wrap=column not in ("statement", "by"))
    return grid
