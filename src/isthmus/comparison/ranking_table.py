"""The figures of a comparison: as one CSV file, and as the tables of its page."""

import csv
import io
import math

from isthmus.comparison.comparison_results import Comparison
from isthmus.comparison.tasks import BASELINES
from isthmus.evaluation.intervals import Estimate
from isthmus.pages.kit import Html, table, tag
from isthmus.pages.kit.markup import Content


def as_csv(found: Comparison) -> str:
    """One line for each method, seed and measure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "baseline", "seed", "measure", "value", "parameters", "seconds"))
    for name in found.ranking:
        for run in found.of(name):
            for measure, value in run.measures.items():
                writer.writerow(
                    (name, int(name in BASELINES), run.seed, measure, repr(value), run.parameters,
                     f"{run.seconds:.3f}")
                )  # fmt: skip
    return text.getvalue()


def number(value: float) -> str:
    """Four digits that matter."""
    return "-" if math.isnan(value) else f"{value:.4g}"


def seconds_of(found: Comparison, name: str) -> float:
    """How long a fit took, in the mean."""
    runs = found.of(name)
    return sum(run.seconds for run in runs) / len(runs)


def measures_table(found: Comparison, taken: str) -> Html:
    """Every method with its measures, the best first; ``taken`` stands out."""
    measures, best = found.measures, found.best_baseline
    heads = [f"{m.replace('_', ' ')} {'↑' if found.task.measures[m] else '↓'}" for m in measures]
    gain = [] if best is None else [f"better than {best} by"]
    rows: list[list[Content]] = []
    classes: dict[int, str] = {}
    for place, name in enumerate(found.ranking):
        cells: list[Content] = [_cell(found.estimate(name, measure)) for measure in measures]
        if best is not None:
            cells.append(["-"] if name == best else _cell(found.gap(name, best)))
        more = (f"{found.of(name)[0].parameters:,}", f"{seconds_of(found, name):.1f}")
        baseline = " (baseline)" if name in BASELINES else ""
        rows.append([f"{name}{baseline}", *cells, *more])
        classes[place] = " ".join(
            word
            for word, applies in (("baseline", name in BASELINES), ("taken", name == taken))
            if applies
        )
    names = ["method", *heads, *gain, "parameters", "seconds"]
    return table(names, rows, numbers=range(1, len(names)), classes=classes)


def seeds_table(found: Comparison) -> Html:
    """Every fit."""
    names = ["method", "seed", *found.measures, "seconds"]
    rows: list[list[Content]] = [
        [name, run.seed, *(number(run.measures.get(m, math.nan)) for m in found.measures),
         f"{run.seconds:.1f}"]
        for name in found.ranking
        for run in found.of(name)
    ]  # fmt: skip
    return table(names, rows, numbers=range(1, len(names)))


def _cell(estimate: Estimate) -> list[str]:
    """A mean, its interval below it where there is one."""
    if (
        math.isnan(estimate.mean)
        or estimate.low == estimate.high
        or not math.isfinite(estimate.low)
    ):
        return [number(estimate.mean)]
    low, high = f"{estimate.low:.3g}", f"{estimate.high:.3g}"
    return [number(estimate.mean), tag("span", f"{low} to {high}", class_="interval")]
