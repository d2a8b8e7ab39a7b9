"""Results on disk: one JSON file for each study, rewritten whole after every trial."""

import json
import math
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus.errors import IsthmusError
from isthmus.reproduction.verdict import Finding, Verdict, judge
from isthmus.runs import write_atomically
from isthmus.studies import Study

FORMAT = 1


@dataclass(frozen=True)
class TrialResult:
    """What one seed measured, by which code, in how many seconds."""

    seed: int
    code: str
    seconds: float
    figures: dict[str, dict[str, float]]


@dataclass
class Outcome:
    """A study's trials at one budget, and the verdict on them."""

    study: Study
    budget: float
    trials: list[TrialResult] = field(default_factory=list)

    def judged(self) -> tuple[Verdict, list[Finding]]:
        """The verdict and what it rests on."""
        return judge(self.study, [trial.figures for trial in self.trials])

    @property
    def minutes(self) -> float:
        """Minutes of all trials together, one after the other."""
        return sum(trial.seconds for trial in self.trials) / 60.0

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain types: the page of claims is made of this alone."""
        verdict, findings = self.judged()
        about = self.study
        return {
            "format": FORMAT,
            **{
                name: getattr(about, name)
                for name in ("name", "family", "catalogue", "paper", "statement", "headline")
            },
            "setting": about.setting,
            "arms": dict(about.arms),
            "verdict": verdict,
            "checks": [_finding(found) for found in findings],
            "budget": self.budget,
            "seeds": [trial.seed for trial in self.trials],
            "minutes": round(self.minutes, 2),
            "versions": {
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "trials": [_finite(asdict(trial)) for trial in self.trials],
        }


def file_of(folder: Path, name: str, budget: float) -> Path:
    """Where the results of a study lie; other budgets than 1 have files of their own."""
    return folder / (f"{name}.json" if budget == 1.0 else f"{name}@{budget:g}.json")


def write(outcome: Outcome, folder: Path) -> None:
    """Write the results whole or not at all."""
    text = json.dumps(outcome.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(file_of(folder, outcome.study.name, outcome.budget), text.encode())


def read_trials(folder: Path, name: str, budget: float) -> list[TrialResult]:
    """The trials that are there; none where there is no file."""
    path = file_of(folder, name, budget)
    if not path.exists():
        return []
    stored = read(path)["trials"]
    return [
        TrialResult(
            one["seed"],
            one["code"],
            one["seconds"],
            {
                arm: {m: math.nan if v is None else float(v) for m, v in measures.items()}
                for arm, measures in one["figures"].items()
            },
        )
        for one in stored
    ]


def read(path: Path) -> dict[str, Any]:
    """One file of results as plain types."""
    try:
        plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise IsthmusError(f"{path} holds no readable results: delete it ({problem})") from None
    if plain.get("format") != FORMAT:
        raise IsthmusError(f"{path} was written by another version: delete it and run it again")
    return plain


def _finding(found: Finding) -> dict[str, Any]:
    check = found.check
    plain: dict[str, Any] = {
        "text": check.text,
        "rule": check.rule,
        "required": check.required,
        "premise": check.premise,
        "seeds": found.seeds,
        "value": asdict(found.estimate),
        "verdict": found.verdict,
        "control": None if found.control is None else asdict(found.control),
        "control_fails": found.control_fails,
    }
    return _finite(plain)


def _finite(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {name: _finite(value) for name, value in plain.items()}
    if isinstance(plain, list):
        return [_finite(value) for value in plain]
    if isinstance(plain, float) and not math.isfinite(plain):
        return None
    return plain
