"""Results on disk: one JSON file for each claim, rewritten whole after every trial."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus.errors import IsthmusError
from isthmus.reproduction.judging import Finding, Judgement, judge
from isthmus.reproduction.probes import Probe
from isthmus.runs import write_atomically
from isthmus.studies import Claim

FORMAT = 2


@dataclass(frozen=True)
class TrialResult:
    """What one seed measured at one budget and with which rates, in how many seconds.

    ``rate`` is that of all arms where the trial was for choosing one, otherwise None; ``rates``
    are those that were chosen, by arm.
    """

    seed: int
    budget: float
    seconds: float
    figures: dict[str, dict[str, float]]
    rate: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Outcome:
    """A claim's trials at one budget: to choose rates by, the curve, the seeds that count."""

    claim: Claim
    budget: float
    probe: Probe | None = None
    tuning: list[TrialResult] = field(default_factory=list)
    curve: list[TrialResult] = field(default_factory=list)
    trials: list[TrialResult] = field(default_factory=list)

    @property
    def rates(self) -> dict[str, float] | None:
        """The learning rate of each arm; None while trials for it are missing."""
        tuning = self.claim.tuning
        if tuning is None:
            return {}
        if {one.rate for one in self.tuning} != set(tuning.rates):
            return None
        best = {}
        for arm in tuning.arms:
            by_rate = {}
            for one in self.tuning:
                value = one.figures[arm].get(tuning.measure, math.nan)
                assert one.rate is not None
                by_rate[one.rate] = value if tuning.lower_is_better else -value
            finite = {rate: value for rate, value in by_rate.items() if math.isfinite(value)}
            if not finite:
                raise IsthmusError(
                    f"{self.claim.name}: {arm} has no {tuning.measure!r} at any rate of its grid, "
                    "so none can be chosen: name a figure that the experiment gives"
                )
            best[arm] = min(finite, key=lambda rate: (finite[rate], rate))
        return best

    @property
    def on_edge(self) -> list[str]:
        """Arms whose rate is the lowest or the highest of the grid."""
        tuning, rates = self.claim.tuning, self.rates
        if tuning is None or not rates:
            return []
        return [
            arm for arm, rate in rates.items() if rate in (min(tuning.rates), max(tuning.rates))
        ]

    def judged(self) -> Judgement:
        """The word and what it rests on; other budgets than 1 need no curve."""
        curve = {one.budget: one.figures for one in self.curve} if self.budget == 1.0 else None
        return judge(self.claim, [trial.figures for trial in self.trials], curve)

    @property
    def minutes(self) -> float:
        """Minutes of all trials together, one after the other."""
        return sum(t.seconds for t in (*self.tuning, *self.curve, *self.trials)) / 60.0

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain types: the pages of claims are made of this alone."""
        judged, about = self.judged(), self.claim
        texts = ("name", "family", "catalogue", "paper", "statement", "headline", "setting")
        tuning = about.tuning
        return _finite(
            {
                "format": FORMAT,
                **{name: getattr(about, name) for name in texts},
                "reading": about.reading,
                "recipes": list(about.recipes),
                "arms": dict(about.arms),
                "anchors": [asdict(anchors) for anchors in about.anchors],
                "word": judged.word,
                "reasons": judged.reasons,
                "primary": finding_to_dict(judged.primary),
                "positive": finding_to_dict(judged.positive),
                "negative": finding_to_dict(judged.negative),
                "premises": [
                    {**finding_to_dict(p.finding), "met": p.met, "why": p.why}
                    for p in judged.premises
                ],
                "secondary": [finding_to_dict(finding) for finding in judged.secondary],
                "curve": {f"{budget:g}": value for budget, value in judged.curve.items()},
                "rates": None
                if tuning is None
                else {"grid": list(tuning.rates), "by": tuning.measure,
                      "chosen": self.rates, "on_edge": self.on_edge},
                "budget": self.budget,
                "seeds_wanted": about.seeds,
                "seeds": [trial.seed for trial in self.trials],
                "minutes": round(self.minutes, 2),
                "versions": {
                    "torch": torch.__version__,
                    "numpy": np.__version__,
                    "python": platform.python_version(),
                },
                "probe": None if self.probe is None else self.probe.to_dict(),
                "trials": [asdict(trial) for trial in self.trials],
                "tuning_trials": [asdict(trial) for trial in self.tuning],
                "curve_trials": [asdict(trial) for trial in self.curve],
            }
        )  # fmt: skip


def file_of(folder: Path, name: str, budget: float) -> Path:
    """Where the results of a claim lie; other budgets than 1 have files of their own."""
    return folder / (f"{name}.json" if budget == 1.0 else f"{name}@{float(budget)!r}.json")


def write(outcome: Outcome, folder: Path) -> None:
    """Write the results whole or not at all."""
    text = json.dumps(outcome.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(file_of(folder, outcome.claim.name, outcome.budget), text.encode())


def kept(folder: Path, claim: Claim, budget: float) -> Outcome:
    """The outcome that is there; an empty one where there is none."""
    path = file_of(folder, claim.name, budget)
    if not path.exists():
        return Outcome(claim, budget)
    stored = read(path)
    try:
        probe = stored["probe"]
        outcome = Outcome(
            claim,
            budget,
            None if probe is None else Probe.from_dict(probe),
            *(trials_of(stored[kind]) for kind in ("tuning_trials", "curve_trials", "trials")),
        )
        seeds = [one.seed for one in outcome.trials]
        if stored["name"] != claim.name or len({*seeds}) < len(seeds):
            raise ValueError("not its own")
        if any(one.budget != budget for one in outcome.trials):
            raise ValueError("another budget")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise IsthmusError(f"{path} holds no results of {claim.name}: delete it") from None
    return outcome


def read(path: Path) -> dict[str, Any]:
    """One file of results as plain types."""
    try:
        plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise IsthmusError(f"{path} holds no readable results: delete it ({problem})") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise IsthmusError(f"{path} was written by another version: delete it and run it again")
    return plain


def finding_to_dict(found: Finding) -> dict[str, Any]:
    """A quantity with its seeds, from which mean, interval and side can be computed again."""
    return {
        "text": found.text,
        "rule": found.threshold.rule,
        "null": found.null,
        "logarithmic": found.logarithmic,
        "source": found.source,
        "place": found.place,
        "published": None if found.published is None else asdict(found.published),
        "beside": found.beside,
        "seeds": found.seeds,
        "value": asdict(found.estimate),
        "side": found.side,
    }


def trials_of(stored: Sequence[Mapping[str, Any]]) -> list[TrialResult]:
    """Trials as they were written down."""
    return [
        TrialResult(
            one["seed"],
            one["budget"],
            one["seconds"],
            {
                arm: {m: math.nan if v is None else float(v) for m, v in measures.items()}
                for arm, measures in one["figures"].items()
            },
            one["rate"],
            dict(one["rates"]),
        )
        for one in stored
    ]


def _finite(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {name: _finite(value) for name, value in plain.items()}
    if isinstance(plain, list):
        return [_finite(value) for value in plain]
    if isinstance(plain, float) and not math.isfinite(plain):
        return None
    return plain
