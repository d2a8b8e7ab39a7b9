"""What a task of the benchmark is: its measures, what they are averaged over, what it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.errors import IsthmusError

Units = Mapping[str, tuple[float, float]]
"""What each unit (a class, a document, a latent) adds above and below the line, by its name.

The measure is the ratio of the two sums: the mean over units where each has 1 below.
"""


class NotMeasurable(IsthmusError):
    """A task says nothing on this host, or of this dictionary; the message is the sentence why."""


@dataclass(frozen=True)
class TaskMeasure:
    """One number of a task.

    ``higher_is_better`` is None where neither direction is; ``what`` is the formula in words.
    """

    name: str
    higher_is_better: bool | None
    what: str
    unit: str = "fraction"

    @property
    def arrow(self) -> str:
        """``↑`` where higher is better, ``↓`` where lower is, else ``·``."""
        return {True: "↑", False: "↓", None: "·"}[self.higher_is_better]


@dataclass(frozen=True)
class Outcome:
    """What a run of a task found: ``figures`` by measure, and ``notes`` of one sentence each."""

    figures: Mapping[str, Units]
    notes: tuple[str, ...] = field(default=())


class BenchmarkTask:
    """A task: the same for all dictionaries of a host.

    name, title, about
        As it is called, its heading, and a paragraph: the measure and its source.
    measures
        All its numbers; ``main`` names those that stand in the table of all tasks.
    over
        What a unit is, which the intervals are over: "classes", "documents", ...
    version
        Goes up where results change; kept ones of another version are measured anew.
    """

    name: str
    title: str
    about: str
    measures: tuple[TaskMeasure, ...]
    main: tuple[str, ...]
    over: str
    version: int

    def premise(self, ground: Ground, point: str, seed: int) -> None:
        """Raise :class:`NotMeasurable` where the host lacks what is asked for."""

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """Measure one dictionary; the same draws for all dictionaries of a seed."""
        raise NotImplementedError


def means(values: Mapping[str, float]) -> Units:
    """Units of which the measure is the mean."""
    return {name: (float(value), 1.0) for name, value in values.items()}
