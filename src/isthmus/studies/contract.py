"""What a study is: a published claim as an experiment that can fail, its rule set in advance."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from isthmus import data
from isthmus.data.registry import how_to_get
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation import Result

PILOT = 0
"""The seed that checks are calibrated on. No verdict counts it."""

Figures = Mapping[str, Mapping[str, float]]
"""What one seed measured: for each arm, its measures by name."""

Measured = Mapping[str, Mapping[str, float | Result]]
Value = Callable[[Figures], float]


@dataclass(frozen=True)
class Trial:
    """One seed of a study.

    ``budget`` scales the work: 1 is what the verdict is given at.
    """

    seed: int
    budget: float = 1.0

    def steps(self, full: int) -> int:
        """``full`` training steps (or epochs, or rows) at budget 1, fewer at less, at least one."""
        return max(1, round(full * self.budget))


@dataclass(frozen=True)
class Check:
    """One quantity of every seed, and the side of a threshold on which the claim holds.

    text
        What is asserted, as a sentence a reader can check the threshold against.
    value
        The quantity, from one seed's figures. Differences taken here are paired by seed.
    at_least, at_most
        The threshold; exactly one of them.
    control
        The same quantity for something that must not pass (shuffled labels, an untrained network,
        a random choice). Where it passes, the check could not have failed and decides nothing.
    required
        Whether the verdict depends on it; otherwise it is reported only.
    premise
        A condition of the experiment (a baseline that converged, two arms at equal L0) and not the
        claim: where it is not met, nothing is decided.
    """

    text: str
    value: Value
    at_least: float | None = None
    at_most: float | None = None
    control: Value | None = None
    required: bool = True
    premise: bool = False

    def __post_init__(self) -> None:
        if self.premise and not self.required:
            raise ValueError(f"the check {self.text!r} is a premise and has to be required")
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the check {self.text!r} needs either at_least or at_most")

    @property
    def threshold(self) -> float:
        """The number that the value is compared with."""
        bound = self.at_least if self.at_most is None else self.at_most
        assert bound is not None
        return bound

    @property
    def rule(self) -> str:
        """The condition in symbols."""
        return f"{'≥' if self.at_most is None else '≤'} {self.threshold:g}"

    def passes(self, value: float) -> bool:
        """Whether the value lies on the right side."""
        return value >= self.threshold if self.at_most is None else value <= self.threshold


@dataclass(frozen=True)
class Study:
    """A claim, the arms that are compared, the checks that decide, and the experiment.

    ``recipes`` are those whose pages the experiment uses: what it measured is out of date once one
    of them changes. ``needs`` names data sets that are not always there. ``headline`` is what the
    paper reports, with its conditions; ``setting`` says at what scale it is checked here.
    """

    name: str
    family: str
    catalogue: int | None
    paper: str
    statement: str
    headline: str
    setting: str
    arms: Mapping[str, str]
    checks: Sequence[Check]
    experiment: Callable[[Trial], Measured]
    recipes: Sequence[str] = ()
    needs: Sequence[str] = ()
    seeds: int = 3

    def run(self, trial: Trial) -> dict[str, dict[str, float]]:
        """Measure one seed: every arm's figures as plain numbers."""
        self.check_data()
        measured = self.experiment(trial)
        if set(measured) != set(self.arms):
            raise ValueError(
                f"{self.name} measured the arms {sorted(measured)}, not {sorted(self.arms)}"
            )
        return {
            arm: {
                name: float(value.value if isinstance(value, Result) else value)
                for name, value in measured[arm].items()
            }
            for arm in self.arms
        }

    def check_data(self) -> None:
        """An error where a data set that it needs is not there."""
        missing = [name for name in self.needs if not data.is_name(name)]
        if missing:
            raise IsthmusError(
                f"the study {self.name!r} needs the data set{'s' if len(missing) > 1 else ''} "
                f"{', '.join(map(repr, missing))}: {how_to_get(*missing)}"
            )


_STUDIES: dict[str, Study] = {}
_F = TypeVar("_F", bound=Callable[[Trial], Measured])


def study(name: str, **about: Any) -> Callable[[_F], _F]:
    """Decorator: register an experiment ``trial -> {arm: {measure: value}}`` as a study.

    Keywords are the fields of :class:`Study`. At least one check needs a control.
    """

    def register(experiment: _F) -> _F:
        if name in _STUDIES:
            raise ValueError(f"two studies are called {name!r}")
        made = Study(name=name, experiment=experiment, **about)
        decisive = (check for check in made.checks if check.required and not check.premise)
        if not any(check.control for check in decisive):
            raise ValueError(f"{name}: no required check has a control, so it could not fail")
        _STUDIES[name] = made
        return experiment

    return register


@cache
def _discover() -> None:
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], "isthmus.studies."):
        importlib.import_module(module.name)


def studies(family: str | None = None) -> dict[str, Study]:
    """All studies by name, or those of one family."""
    _discover()
    known = dict(sorted(_STUDIES.items()))
    if family is None:
        return known
    families = {one.family for one in known.values()}
    if family not in families:
        raise unknown("family of studies", family, families)
    return {name: one for name, one in known.items() if one.family == family}


def get_study(name: str) -> Study:
    """The study of that name; an error offers the nearest one."""
    known = studies()
    if name not in known:
        raise unknown("study", name, known)
    return known[name]
