"""A comparison as one self-contained HTML page: what to take first, the figures below."""

import math
from pathlib import Path

from isthmus.comparison.comparison_results import Comparison
from isthmus.comparison.cost_chart import Point, scatter
from isthmus.comparison.examples_shown import examples_card
from isthmus.comparison.methods import CEILING, Budget
from isthmus.comparison.next_steps import steps
from isthmus.comparison.ranking_table import as_csv, measures_table, seconds_of, seeds_table
from isthmus.comparison.recommendation import Verdict
from isthmus.comparison.tasks import BASELINES
from isthmus.comparison.winner import WINNER
from isthmus.pages import kit
from isthmus.pages.kit import Html, tag
from isthmus.runs import write_atomically

_LEAST = 0.01
"""Seconds below which a fit counts as free, so that the picture's scale is left to the others."""


def page(found: Comparison, folder: Path | None = None) -> str:
    """The whole page; ``folder`` is where the comparison is kept, for the commands."""
    title = f"{found.prepared.name}: {found.settings.task}"
    count = f"{len(found.ranking)} methods, {found.settings.seeds} seeds"
    verdict = found.verdict
    parts = [
        _verdict(verdict),
        _go_on(found, folder, verdict),
        examples_card(found),
        kit.card("Quality against cost", _cost(found)),
        kit.card("Measures", _about(found), measures_table(found, verdict.take), _legend(found)),
        _left_out(found),
        kit.card("How this was found", *_explained(found)),
    ]
    body = [
        kit.header(title, tag("span", count, class_="quiet")),
        kit.main(*(part for part in parts if part is not None)),
    ]
    style = kit.asset("isthmus.comparison", "comparison.css")
    return kit.document(title, body, style=style)


def write_pages(comparison: Comparison, folder: Path) -> None:
    """The page and the table of a comparison, in its folder."""
    write_atomically(folder / "index.html", page(comparison, folder).encode())
    write_atomically(folder / "results.csv", as_csv(comparison).encode())


def _verdict(verdict: Verdict) -> list[Html]:
    warning = [tag("p", verdict.warning, class_="warning")] if verdict.warning else []
    return [tag("p", verdict.sentence, class_="idea"), *warning]


def _go_on(comparison: Comparison, folder: Path | None, verdict: Verdict) -> Html | None:
    commands = steps(comparison, folder)
    if not commands:
        return None
    saved: list[Html] = []
    if folder is not None and comparison.winner is not None:
        other = "" if verdict.take == comparison.winner else ", the recipe that ranks first,"
        rows = comparison.prepared.rows
        about = f"{comparison.winner}{other} fitted to all {rows:,} rows is saved in "
        saved.append(tag("p", about, tag("code", str(folder / WINNER)), "."))
    lines = [
        part
        for what, command in commands
        for part in (tag("h3", what[0].upper() + what[1:]), tag("code", command, class_="command"))
    ]
    return kit.card("How to go on", *saved, *lines)


def _cost(comparison: Comparison) -> Html:
    first = comparison.measures[0]
    bits = "bits" in comparison.measures
    quality = comparison.measures[1] if bits else first
    points = []
    for name in comparison.ranking:
        at = comparison.estimate(name, quality)
        spent = comparison.estimate(name, "bits").mean if bits else seconds_of(comparison, name)
        cost = max(spent, _LEAST)
        points.append(Point(name, cost, at.mean, at.low, at.high, name in BASELINES))
    label = "bits a row" if bits else "seconds to fit"
    points, note = _near(points)
    chart = scatter(points, label, quality.replace("_", " "), comparison.task.measures[quality])
    return Html(chart + note)


def _near(points: list[Point]) -> tuple[list[Point], Html]:
    """The points without the untrained network where that is so far off that it hides the rest."""
    rest = [point for point in points if point.name != "untrained"]
    qualities = [p.quality for p in rest if math.isfinite(p.quality)]
    far = [point for point in points if point.name == "untrained"]
    if not far or len(qualities) < 2:
        return points, Html("")
    spread = max(qualities) - min(qualities)
    if min(qualities) - spread <= far[0].quality <= max(qualities) + spread:
        return points, Html("")
    sentence = f"The untrained network is far off, at {far[0].quality:.3g}, and not drawn."
    return rest, tag("p", sentence, class_="quiet")


def _about(comparison: Comparison) -> Html:
    return tag("p", comparison.task.about)


def _legend(comparison: Comparison) -> Html:
    lines = [
        [tag("b", name), f": {BASELINES[name]}"]
        for name in comparison.task.baselines
        if name in comparison.ranking
    ]
    note = (
        "Means over the seeds; below them the 95 % interval (bootstrap over seeds; with three "
        "their range). Differences are paired by seed; their interval is Student's t, widened "
        "since the seeds split the same rows (Nadeau, Bengio 2003)."
    )
    return kit.details("what the columns and baselines are", tag("p", note), kit.listed(lines))


def _left_out(comparison: Comparison) -> Html | None:
    omissions = [[tag("b", name), f": {why}"] for name, why in comparison.left_out.items()]
    return kit.card("Left out", kit.listed(omissions)) if omissions else None


def _explained(comparison: Comparison) -> list[Html]:
    settings, budget = comparison.settings, comparison.settings.budget
    shape = " x ".join(map(str, comparison.prepared.shape))
    setting = (
        f"{comparison.prepared.rows:,} rows of {shape}; {settings.seeds} seeds, each with its own "
        f"quarter of the rows for testing; {_steps(budget)} of {budget.batch_size} rows, "
        f"codes of {budget.latents} numbers (sparse dictionaries: {budget.latents} of "
        f"{budget.width} latents active), each recipe at its published learning rate."
    )
    choices = [
        f"{name}: {', '.join(f'{k}={v}' for k, v in options.items())}"
        for name, options in settings.options.items()
        if options
    ]
    notes = comparison.prepared.notes or ["nothing"]
    return [
        kit.details("the setting, the same for all", tag("p", setting)),
        kit.details("what was done to the data", kit.listed(notes)),
        *([kit.details("options given", kit.listed(choices))] if choices else []),
        kit.details("every seed", seeds_table(comparison)),
    ]


def _steps(budget: Budget) -> str:
    """How long each recipe trains."""
    time = "" if budget.minutes is None else f" and {budget.minutes:g} minutes a fit"
    if budget.steps is None:
        return f"until nothing is gained on held-out rows, at most {CEILING:,} steps{time}"
    return f"{budget.steps:,} steps" + time.replace(" and", ", at most", 1)
