"""What is still to be run of a claim, one task at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

from isthmus import notices
from isthmus.reproduction.probes import Probe, status
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.studies import PILOT

TUNING_BUDGET = 0.5
"""Share of the steps that rates are chosen at."""
CURVE = (0.5, 1.0)
"""Budgets of the pilot's curve."""


@dataclass(frozen=True)
class Task:
    """One thing to be run in a process of its own: a probe, or a trial for some purpose."""

    name: str
    purpose: str  # probe, tuning, curve, seed
    seed: int = PILOT
    budget: float = 1.0
    rate: float | None = None
    rates: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        what = {
            "probe": "probe",
            "tuning": f"rate {self.rate:g}" if self.rate is not None else "rate",
            "curve": f"pilot at {self.budget:g}",
            "seed": f"seed {self.seed}",
        }
        return f"{self.name}, {what[self.purpose]}"


class Plan:
    """What is still to be run of one claim, as far as it can be told."""

    def __init__(self, outcome: Outcome, seeds: list[int]) -> None:
        self.outcome, self.wanted = outcome, seeds
        self.given: set[Task] = set()
        self.lasted = max((t.seconds for t in outcome.trials), default=0.0)
        self.probed: Probe | None = None
        self.ended = False

    def ready(self) -> list[Task]:
        """Tasks that can be begun now and were not given out before."""
        if self.ended:
            return []
        tasks = [task for task in self._missing() if task not in self.given]
        self.given |= set(tasks)
        return tasks

    @property
    def left(self) -> int:
        """Probes and trials that have not ended well."""
        out, grid = self.outcome, self.outcome.claim.tuning
        curve = len(CURVE) if out.budget == 1.0 else 0
        total = 1 + (0 if grid is None else len(grid.rates)) + curve + len(self.wanted)
        trials = [one for one in out.trials if one.seed in self.wanted]
        return total - (self.probed is not None) - sum(map(len, (out.tuning, out.curve, trials)))

    @property
    def complete(self) -> bool:
        """Whether nothing but the probe is to be run."""
        out = self.outcome
        curve = out.budget != 1.0 or {one.budget for one in out.curve} >= {*CURVE}
        return out.rates is not None and curve and {*self.wanted} <= {t.seed for t in out.trials}

    def _missing(self) -> Iterator[Task]:
        out = self.outcome
        name, claim = out.claim.name, out.claim
        if self.probed is None:
            yield Task(name, "probe")
            return
        rates = out.rates
        if rates is None:
            assert claim.tuning is not None
            rates_run = {one.rate for one in out.tuning}
            for rate in claim.tuning.rates:
                if rate not in rates_run:
                    per_arm = tuple((arm, rate) for arm in claim.tuning.arms)
                    yield Task(name, "tuning", PILOT, TUNING_BUDGET * out.budget, rate, per_arm)
            return
        pairs = tuple(rates.items())
        if out.budget == 1.0:
            have = {one.budget for one in out.curve}
            yield from (
                Task(name, "curve", PILOT, share, rates=pairs)
                for share in reversed(CURVE) if share not in have
            )  # fmt: skip
        seeds = {one.seed for one in out.trials}
        yield from (
            Task(name, "seed", seed, out.budget, rates=pairs)
            for seed in self.wanted if seed not in seeds
        )  # fmt: skip

    def take(self, task: Task, found: "Probe | TrialResult") -> None:
        """Put a result where it belongs; a probe that differs drops what is there."""
        out = self.outcome
        if isinstance(found, Probe):
            self.probed = found
            state = None if out.probe is None else status(out.probe, found)
            if state == "other machine" and self.complete:
                notices.say(
                    f"{out.claim.name}: its results are from another machine, whose bits cannot be "
                    "compared with this one's; they are kept (again=True runs them anew)"
                )
                return
            if state == "other machine":
                notices.say(
                    f"{out.claim.name}: part of its results is from another machine, whose bits "
                    "cannot be compared with this one's, so that all are run anew"
                )
            if state != "current":
                out.tuning, out.curve, out.trials = [], [], []
            out.probe = found
            # Of a run whose rates were others.
            rates = out.rates
            if rates is not None:
                out.curve = [one for one in out.curve if one.rates == rates]
                out.trials = [one for one in out.trials if one.rates == rates]
            return
        kind = {"tuning": out.tuning, "curve": out.curve, "seed": out.trials}[task.purpose]
        kind.append(found)
        kind.sort(key=lambda one: (one.seed, one.budget, one.rate or 0.0))
