"""What a claim is: a paper's own comparison, declared before it is run, with one deciding check."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from isthmus import data
from isthmus.data.registry import how_to_get
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation import Result
from isthmus.studies.anchors import Anchors
from isthmus.studies.arms import Arm, Bench, Fit, Subject
from isthmus.studies.checks import Premise, Primary, Secondary, Tuning
from isthmus.studies.trial import Trial

SEEDS = 5
"""Seeds that a word needs at least."""

Measured = Mapping[str, Mapping[str, float | Result]]


@dataclass(frozen=True)
class Claim:
    """A paper's claim, the arms that are compared, and the check that decides.

    statement
        What the paper claims, in one sentence.
    headline
        What it reports, with its conditions.
    setting
        At what scale it is checked here.
    arms
        What is compared, by name, each with a text.
    primary, premises, secondary
        The check that decides; what has to be so for it to decide; what is reported beside it.
    experiment
        Measures one seed: every arm's figures.
    file
        The page that declares it: what was measured is out of date once its syntax changes.
    recipes
        Those that it is about: their pages of documentation show the word.
    tuning
        How the arms' learning rates are chosen, where they are.
    timed
        Measures that are times, which a probe cannot compare.
    anchors
        Published numbers to stand beside measured ones.
    reading
        One sentence on what was found and why, written after the run.
    """

    name: str
    family: str
    catalogue: int | None
    paper: str
    statement: str
    headline: str
    setting: str
    arms: Mapping[str, str]
    primary: Primary
    experiment: Callable[[Trial], Measured]
    file: Path
    premises: Sequence[Premise] = ()
    secondary: Sequence[Secondary] = ()
    recipes: Sequence[str] = ()
    needs: Sequence[str] = ()
    seeds: int = SEEDS
    tuning: Tuning | None = None
    timed: Sequence[str] = ()
    anchors: Sequence[Anchors] = ()
    reading: str = ""

    def __post_init__(self) -> None:
        if self.seeds < SEEDS:
            raise ValueError(f"{self.name}: {self.seeds} seeds are fewer than {SEEDS}")
        controls = [self.primary.positive, self.primary.negative]
        if controls[0] == controls[1]:
            raise ValueError(f"{self.name}: one thing cannot have to pass and have to fail")
        tuned = () if self.tuning is None else self.tuning.arms
        for arm in (*(one for one in controls if isinstance(one, str)), *tuned):
            if arm not in self.arms:
                raise unknown(f"arm of {self.name}", arm, self.arms)
        self.primary.control("positive")  # a ValueError where it cannot be measured
        self.primary.control("negative")

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
                f"the claim {self.name!r} needs the data set{'s' if len(missing) > 1 else ''} "
                f"{', '.join(map(repr, missing))}: {how_to_get(*missing)}"
            )


_CLAIMS: dict[str, Claim] = {}
_F = TypeVar("_F", bound=Callable[[Trial], Measured])


def _register(one: Claim) -> Claim:
    if one.name in _CLAIMS:
        raise ValueError(f"two claims are called {one.name!r}")
    _CLAIMS[one.name] = one
    return one


def claim(
    name: str,
    *,
    bench: Bench,
    arms: Mapping[str, Arm],
    measures: Sequence[str],
    fit: Mapping[str, Any],
    measured_only: Mapping[str, Sequence[str]] | None = None,
    setting: str = "",
    needs: Sequence[str] = (),
    **about: Any,
) -> Claim:
    """Declare a claim: a bench, the arms, the measures by name, and the checks.

    bench
        Data, split and measures; its setting is told before the claim's own.
    arms
        Each a :class:`~isthmus.studies.arms.Fit` or a control, made in this order.
    measures
        Names of the bench's measures, for every arm but those in ``measured_only``, which names an
        arm's own.
    fit
        Options of training that all fits share; ``steps`` are those at budget 1.

    Other keywords are fields of :class:`Claim`.
    """
    for measure in (*measures, *(m for some in (measured_only or {}).values() for m in some)):
        if measure not in bench.measures:
            raise unknown(f"measure of the bench {bench.name!r}", measure, bench.measures)
    others = dict(measured_only or {})

    def experiment(trial: Trial) -> dict[str, dict[str, float]]:
        trial = replace(trial, shared=fit)
        ground = bench.open(trial)
        subjects: dict[str, Subject] = {}
        figures = {}
        for arm, definition in arms.items():
            if isinstance(definition, Fit):
                subjects[arm] = definition.make(arm, ground, trial)
            else:
                subjects[arm] = definition.make(subjects, ground, trial)
            names = tuple(others.get(arm, measures))
            figures[arm] = bench.measured(subjects[arm], ground, names)
        return figures

    return _register(
        Claim(
            name=name,
            arms={arm: definition.text for arm, definition in arms.items()},
            experiment=experiment,
            setting=" ".join(filter(None, (bench.setting, setting))),
            file=Path(sys._getframe(1).f_code.co_filename).resolve(),
            needs=tuple(dict.fromkeys((*bench.needs, *needs))),
            **about,
        )
    )


def experiment(name: str, **about: Any) -> Callable[[_F], _F]:
    """Decorator: a claim whose experiment is a function, ``trial -> {arm: {measure: value}}``.

    For what is no comparison of fits on a bench. Keywords are the fields of :class:`Claim`.
    """

    def register(function: _F) -> _F:
        file = Path(function.__code__.co_filename).resolve()
        _register(Claim(name=name, experiment=function, file=file, **about))
        return function

    return register


@cache
def _discover() -> None:
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], "isthmus.studies."):
        importlib.import_module(module.name)


def claims(family: str | None = None) -> dict[str, Claim]:
    """All claims by name, or those of one family."""
    _discover()
    known = dict(sorted(_CLAIMS.items()))
    if family is None:
        return known
    families = {one.family for one in known.values()}
    if family not in families:
        raise unknown("family of claims", family, families)
    return {name: one for name, one in known.items() if one.family == family}


def get_claim(name: str) -> Claim:
    """The claim of that name; an error offers the nearest one."""
    known = claims()
    if name not in known:
        raise unknown("claim", name, known)
    return known[name]
