"""A comparison as one self-contained HTML page: what to take first, the figures below."""

import math
from pathlib import Path

from isthmus.comparison.cost_chart import Point, scatter
from isthmus.comparison.examples_shown import examples_card
from isthmus.comparison.methods import CEILING, Budget
from isthmus.comparison.next_steps import steps
from isthmus.comparison.ranking_table import measures_table, seconds_of, seeds_table
from isthmus.comparison.recommendation import Verdict
from isthmus.comparison.runner import Comparison
from isthmus.comparison.tasks import BASELINES
from isthmus.comparison.winner import WINNER
from isthmus.pages import kit
from isthmus.pages.kit import Html, tag

_LEAST = 0.01
"""Seconds below which a fit counts as free, so that the picture's scale is left to the others."""


def page(found: Comparison, folder: Path | None = None) -> str:
    """The whole page; ``folder`` is where the comparison is kept, for the commands."""
    title = f"{found.prepared.name}: {found.settings.task}"
    count = f"{len(found.ranking)} methods, {found.settings.seeds} seeds"
    taken = found.verdict
    parts = [
        _verdict(taken),
        _go_on(found, folder, taken),
        examples_card(found),
        kit.card("Quality against cost", _cost(found)),
        kit.card("Measures", _about(found), measures_table(found, taken.take), _legend(found)),
        _left_out(found),
        kit.card("How this was found", *_explained(found)),
    ]
    body = [
        kit.header(title, tag("span", count, class_="quiet")),
        kit.main(*(part for part in parts if part is not None)),
    ]
    style = kit.asset("isthmus.comparison", "comparison.css")
    return kit.document(title, body, style=style)


def _verdict(taken: Verdict) -> list[Html]:
    warning = [tag("p", taken.warning, class_="warning")] if taken.warning else []
    return [tag("p", taken.sentence, class_="idea"), *warning]


def _go_on(found: Comparison, folder: Path | None, taken: Verdict) -> Html | None:
    made = steps(found, folder)
    if not made:
        return None
    saved: list[Html] = []
    if folder is not None and found.winner is not None:
        other = "" if taken.take == found.winner else ", the recipe that ranks first,"
        about = f"{found.winner}{other} fitted to all {found.prepared.rows:,} rows is saved in "
        saved.append(tag("p", about, tag("code", str(folder / WINNER)), "."))
    lines = [
        part
        for what, command in made
        for part in (tag("h3", what[0].upper() + what[1:]), tag("code", command, class_="command"))
    ]
    return kit.card("How to go on", *saved, *lines)


def _cost(found: Comparison) -> Html:
    first = found.measures[0]
    bits = "bits" in found.measures
    quality = found.measures[1] if bits else first
    points = []
    for name in found.ranking:
        at = found.estimate(name, quality)
        spent = found.estimate(name, "bits").mean if bits else seconds_of(found, name)
        cost = max(spent, _LEAST)
        points.append(Point(name, cost, at.mean, at.low, at.high, name in BASELINES))
    label = "bits a row" if bits else "seconds to fit"
    points, note = _near(points)
    drawn = scatter(points, label, quality.replace("_", " "), found.task.measures[quality])
    return Html(drawn + note)


def _near(points: list[Point]) -> tuple[list[Point], Html]:
    """The points without the untrained network where that is so far off that it hides the rest."""
    rest = [point for point in points if point.name != "untrained"]
    known = [p.quality for p in rest if math.isfinite(p.quality)]
    far = [point for point in points if point.name == "untrained"]
    if not far or len(known) < 2:
        return points, Html("")
    spread = max(known) - min(known)
    if min(known) - spread <= far[0].quality <= max(known) + spread:
        return points, Html("")
    said = f"The untrained network is far off, at {far[0].quality:.3g}, and not drawn."
    return rest, tag("p", said, class_="quiet")


def _about(found: Comparison) -> Html:
    return tag("p", found.task.about)


def _legend(found: Comparison) -> Html:
    lines = [
        [tag("b", name), f": {BASELINES[name]}"]
        for name in found.task.baselines
        if name in found.ranking
    ]
    note = (
        "Means over the seeds; below them the 95 % interval (bootstrap over seeds; with three "
        "their range). Differences are paired by seed; their interval is Student's t, widened "
        "since the seeds split the same rows (Nadeau, Bengio 2003)."
    )
    return kit.details("what the columns and baselines are", tag("p", note), kit.listed(lines))


def _left_out(found: Comparison) -> Html | None:
    left = [[tag("b", name), f": {why}"] for name, why in found.left_out.items()]
    return kit.card("Left out", kit.listed(left)) if left else None


def _explained(found: Comparison) -> list[Html]:
    settings, budget = found.settings, found.settings.budget
    shape = " x ".join(map(str, found.prepared.shape))
    setting = (
        f"{found.prepared.rows:,} rows of {shape}; {settings.seeds} seeds, each with its own "
        f"quarter of the rows for testing; {_steps(budget)} of {budget.batch_size} rows, "
        f"codes of {budget.latents} numbers (sparse dictionaries: {budget.latents} of "
        f"{budget.width} latents active), each recipe at its published learning rate."
    )
    given = [
        f"{name}: {', '.join(f'{k}={v}' for k, v in own.items())}"
        for name, own in settings.options.items()
        if own
    ]
    notes = found.prepared.notes or ["nothing"]
    return [
        kit.details("the setting, the same for all", tag("p", setting)),
        kit.details("what was done to the data", kit.listed(notes)),
        *([kit.details("options given", kit.listed(given))] if given else []),
        kit.details("every seed", seeds_table(found)),
    ]


def _steps(budget: Budget) -> str:
    """How long each recipe trains."""
    if budget.steps is None:
        return f"until nothing is gained on held-out rows, at most {CEILING:,} steps"
    return f"{budget.steps:,} steps"
