"""What a benchmark found: every run, and each measure over seeds and units with its interval."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.dictionary_benchmark.task_protocol import BenchmarkTask, TaskMeasure
from isthmus.evaluation import Result
from isthmus.evaluation.intervals import STILL, percentile, resampled_ratios

DRAWS = 2000
"""Resamples of units for an interval."""
ENOUGH = 8
"""So many units at least stand for others: with fewer, resampling them has too little to draw."""


@dataclass(frozen=True)
class TaskRun:
    """One task for one dictionary and seed.

    ``figures`` has what each unit adds above and below the line, by measure; ``reason`` is why
    there are none; ``notes`` are sentences about them.
    """

    task: str
    dictionary: str
    seed: int
    figures: Mapping[str, Mapping[str, tuple[float, float]]]
    reason: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class DictionaryRow:
    """A dictionary or a control (then ``control`` says what it is)."""

    name: str
    point: str
    latents: int
    control: str = ""


@dataclass(frozen=True, eq=False)
class BenchmarkResult:
    """All that was measured.

    host, revision
        The language model.
    seeds, text, sets, settings
        What was the same for all: the draws, the running text, labelled texts with their numbers.
    rows
        Dictionaries, and behind them the controls.
    tasks, runs
        The tasks in order, and every run of them.
    """

    host: str
    revision: str
    seeds: int
    text: str
    sets: Mapping[str, int]
    settings: Mapping[str, Any]
    rows: Sequence[DictionaryRow]
    tasks: Sequence[BenchmarkTask]
    runs: Sequence[TaskRun]

    def of(self, task: str, dictionary: str) -> list[TaskRun]:
        """The runs of a task for a dictionary, by seed."""
        return [run for run in self.runs if (run.task, run.dictionary) == (task, dictionary)]

    def figure(self, task: BenchmarkTask, measure: str, dictionary: str) -> Result | None:
        """A measure with its interval; None where nothing was measured."""
        about = next(one for one in task.measures if one.name == measure)
        units: dict[str, list[float]] = {}
        for run in self.of(task.name, dictionary):
            for name, (above, below) in run.figures.get(measure, {}).items():
                total = units.setdefault(name, [0.0, 0.0])
                total[0] += above
                total[1] += below
        return over_units(about, units, task.over) if units else None

    def reason(self, task: str, dictionary: str) -> str:
        """Why a task has no numbers for a dictionary."""
        return next((run.reason for run in self.of(task, dictionary) if run.reason), "")

    def notes(self, task: str) -> list[str]:
        """Sentences about a task, each once: why numbers are missing, and what they rest on."""
        seeds: dict[str, set[int]] = {}
        notes: dict[str, None] = {}
        for run in self.runs:
            if run.task == task:
                notes.update(dict.fromkeys(run.notes))
                if run.reason:
                    seeds.setdefault(run.reason, set()).add(run.seed)
        reasons = [
            reason
            if len(which) == self.seeds
            else f"with {len(which)} of {self.seeds} seeds {reason}"
            for reason, which in seeds.items()
        ]
        return [*reasons, *notes]

    def seconds(self, task: str) -> float:
        """How long the task took, all dictionaries and seeds together."""
        return sum(run.seconds for run in self.runs if run.task == task)

    def main(self) -> list[tuple[BenchmarkTask, TaskMeasure]]:
        """The measures of the one table, those that nothing has a number for left out."""
        return [
            (task, about)
            for task in self.tasks
            for about in task.measures
            if about.name in task.main
            and any(self.figure(task, about.name, row.name) for row in self.rows)
        ]


def over_units(about: TaskMeasure, units: Mapping[str, Sequence[float]], over: str) -> Result:
    """A measure as the ratio of two sums over units, with the bootstrap over units.

    ``units`` has what each adds to both. One unit, and units that do not differ, have no interval.
    """
    above, below = np.array(list(units.values()), dtype=np.float64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(above.sum() / below.sum())
        draws = resampled_ratios(above, below, DRAWS, 0)
    interval = percentile(draws, value) if len(above) > 1 and math.isfinite(value) else None
    how = f"95 % percentile bootstrap over {len(above)} {over}, {DRAWS} resamples"
    few = f"only {len(above)} of the {over}: the interval is too narrow"
    note = "" if len(above) >= ENOUGH else few
    if not interval:
        note = STILL if len(above) > 1 else f"one of the {over}: no interval"
    estimator = f"{about.what}; {how if interval else 'no interval'}"
    return Result(
        about.name, value, about.higher_is_better, interval, len(above), estimator, about.unit,
        above / np.where(below == 0, np.nan, below), note,
    )  # fmt: skip


def as_csv(found: BenchmarkResult) -> str:
    """One line for each dictionary and measure, those that could not be measured among them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("dictionary", "control", "point", "task", "measure", "better", "value", "low", "high",
         "units", "of", "seeds", "note")
    )  # fmt: skip
    better = {True: "higher", False: "lower", None: ""}
    for row in found.rows:
        for task in found.tasks:
            for about in task.measures:
                result = found.figure(task, about.name, row.name)
                head = (row.name, int(bool(row.control)), row.point, task.name, about.name,
                        better[about.higher_is_better])  # fmt: skip
                if result is None:
                    reason = found.reason(task.name, row.name)
                    writer.writerow((*head, "", "", "", 0, task.over, found.seeds, reason))
                    continue
                low, high = result.interval or ("", "")
                measured = sum(not run.reason for run in found.of(task.name, row.name))
                writer.writerow(
                    (*head, repr(result.value), low, high, result.n, task.over, measured,
                     result.note)
                )  # fmt: skip
    return text.getvalue()
