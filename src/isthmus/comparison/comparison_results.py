"""What a comparison found: every method on every seed's split."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from isthmus.comparison.examples import Examples
from isthmus.comparison.methods import Budget
from isthmus.comparison.prepared import TEST_SHARE, Prepared
from isthmus.comparison.recommendation import Verdict, verdict
from isthmus.comparison.tasks import BASELINES, TASKS, Task
from isthmus.evaluation.intervals import Estimate, over_seeds, paired
from isthmus.recipes import Recipe


@dataclass(frozen=True)
class ComparisonSettings:
    """Everything that the figures depend on, beside the data."""

    task: str
    recipes: tuple[str, ...]
    seeds: int
    budget: Budget
    clusters: int
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodRun:
    """One method on one seed's split; ``problem`` says why there are no measures."""

    method: str
    seed: int
    measures: dict[str, float]
    parameters: int
    seconds: float
    problem: str = ""


@dataclass
class Comparison:
    """What was found, for every method and seed.

    ``winner`` is the recipe that was saved. ``compared`` are the recipes by name, ``examples`` what
    methods make of a few rows. ``data``, ``reading`` and ``prepare`` are what was asked for, as a
    command says it; ``data`` is None where they were arrays.
    """

    prepared: Prepared
    settings: ComparisonSettings
    runs: list[MethodRun]
    winner: str | None = None
    compared: Mapping[str, Recipe] = field(default_factory=dict)
    examples: Examples = field(default_factory=Examples)
    data: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    prepare: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What was asked."""
        return TASKS[self.settings.task]

    @property
    def measures(self) -> list[str]:
        """The measures that were taken; the first one ranks."""
        names = {name for run in self.runs for name in run.measures}
        return [name for name in self.task.measures if name in names]

    def of(self, method: str) -> list[MethodRun]:
        """A method's runs, by seed."""
        return sorted((r for r in self.runs if r.method == method), key=lambda r: r.seed)

    def estimate(self, method: str, measure: str) -> Estimate:
        """Mean and interval over the seeds."""
        return over_seeds([run.measures.get(measure, math.nan) for run in self.of(method)])

    def gap(self, method: str, other: str) -> Estimate:
        """By how much a method is better than another in the first measure, paired by seed.

        With intervals of :func:`isthmus.evaluation.intervals.paired`: each seed splits the same
        rows.
        """
        first = self.measures[0]
        sign = 1.0 if self.task.measures[first] else -1.0
        pairs = zip(self.of(method), self.of(other), strict=True)
        differences = [
            sign * (a.measures.get(first, math.nan) - b.measures.get(first, math.nan))
            for a, b in pairs
        ]
        return paired(differences, TEST_SHARE / (1.0 - TEST_SHARE))

    @property
    def ranking(self) -> list[str]:
        """Methods that were measured, the best first."""
        if not self.measures:
            return []
        first = self.measures[0]
        sign = -1.0 if self.task.measures[first] else 1.0
        names = {run.method for run in self.runs if not run.problem}
        mean = {name: self.estimate(name, first).mean for name in names}
        return sorted(names, key=lambda n: (math.isnan(mean[n]), sign * mean[n], n))

    @property
    def verdict(self) -> Verdict:
        """What to take, and how sure that is."""
        return verdict(self)

    @property
    def best_baseline(self) -> str | None:
        """The baseline that ranks first."""
        return next((name for name in self.ranking if name in BASELINES), None)

    @property
    def left_out(self) -> dict[str, str]:
        """Methods without figures, and why."""
        return {run.method: run.problem for run in self.runs if run.problem}


def run_to_dict(run: MethodRun) -> dict[str, Any]:
    """A fit as plain types; a measure that is no number is None."""
    return {**asdict(run), "measures": {k: _finite(v) for k, v in run.measures.items()}}


def run_from_dict(plain: Mapping[str, Any]) -> MethodRun:
    """From what :func:`run_to_dict` made."""
    measures = {k: math.nan if v is None else v for k, v in plain["measures"].items()}
    return MethodRun(**{**plain, "measures": measures})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
