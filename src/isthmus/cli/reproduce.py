"""``isthmus reproduce``: what published claims are worth here: the arms, every seed, the word."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from isthmus.cli import completion
from isthmus.cli.common import Quiet, interruptible, on_disk, out

if TYPE_CHECKING:
    from isthmus.reproduction.results import Outcome
    from isthmus.studies import Claim
    from isthmus.training.progress import ProgressBar

COLOURS = {
    "supported": "green",
    "contradicted": "red",
    "not resolved": "yellow",
    "not testable here": "bright_black",
}
STALE = "out of date: the code is not what it was; isthmus reproduce NAME runs the claim again"
GAP = 2
"""Blanks between columns."""


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
    prepare: Annotated[
        bool, typer.Option("--prepare", help="only write down what is to be done: isthmus work")
    ] = False,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="where results are kept", callback=on_disk
        ),
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
    if prepare:
        from isthmus.reproduction.shared_trials import prepare as prepared

        prepared(output, selection, seeds, budget, pilot, again)
        out.print(f"prepared; next: isthmus work {output}", markup=False)
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


def listed(folder: Path) -> RenderableType:
    """All claims with the words that are kept in ``folder``, a line each.

    A statement ends where the terminal does: the page of the claim has it whole.
    """
    from isthmus.studies import claims

    heads = ("claim", "word", "seeds", "min", "family: statement")
    rows = [_line(claim, folder) for claim in claims().values()]
    # Without a run there are no seeds and no minutes, and more room for what is claimed.
    places = [k for k in range(4) if k < 2 or any(row[k].plain for row in rows)]
    widths = [max(cell_len(heads[k]), *(row[k].cell_len for row in rows)) for k in places]
    room = max(8, out.width - sum(widths) - GAP * len(widths))
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for k, width in zip(places, widths, strict=True):
        grid.add_column(heads[k], width=width, justify="left" if k < 2 else "right")
    grid.add_column(heads[4], width=room, no_wrap=True, overflow="ellipsis")
    for row in rows:
        grid.add_row(*(row[k] for k in places), row[4])
    stale = any(row[1].plain.endswith("*") for row in rows)
    return Group(grid, Text(f"* {STALE}", "bright_black")) if stale else grid


def _line(claim: "Claim", folder: Path) -> tuple[Text, ...]:
    """Name, word, seeds that count, minutes, and what is claimed; empty what was not run."""
    from isthmus.errors import IsthmusError
    from isthmus.reproduction.results import kept
    from isthmus.reproduction.runner import status_of

    seeds = minutes = ""
    try:
        outcome = kept(folder, claim, 1.0)
        word = str(outcome.judged().word) if outcome.trials else "not run"
        mark = "" if status_of(claim, folder) in (None, "current") else "*"
        if outcome.trials:
            seeds, minutes = f"{len(outcome.trials)}", f"{outcome.minutes:.1f}"
    except IsthmusError:  # said where the claim is run
        word, mark = "unreadable", ""
    what = Text.assemble((f"{claim.family}: ", "bright_black"), claim.statement)
    style = COLOURS.get(word, "")
    return Text(claim.name), Text(word + mark, style), Text(seeds), Text(minutes), what


def checked(names: list[str], folder: Path, budget: float, bar: "ProgressBar") -> Table:
    """Which kept results are what the code gives now: a probe of each, a few seconds."""
    from isthmus.reproduction.probes import probe, status
    from isthmus.reproduction.results import kept
    from isthmus.studies import get_claim

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("claim", "results", "by"):
        grid.add_column(column, no_wrap=column != "by")
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
