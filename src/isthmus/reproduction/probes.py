"""Whether stored results are still what the code gives: the page's syntax, and a short probe.

A claim's own page counts by its syntax, less its texts. The library counts by what it does: every
fit of the experiment is run for twenty steps on few rows, and hashes of the weights and of the
figures are kept beside the results. The same bits mean the same code, as far as twenty steps tell:
an edit of a comment or of the progress bar changes none, a changed constant of an optimiser changes
those of the arms that use it. Bits depend on the processor and on torch: elsewhere nothing is told.
"""

import ast
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from isthmus.studies import PILOT, Claim, Trial

TEXTS = {
    "claim": {"paper", "statement", "headline", "setting", "reading", "family", "catalogue"},
    "experiment": {"paper", "statement", "headline", "setting", "reading", "family", "catalogue"},
    "Premise": {"why"},
    "Anchors": {"title", "unit", "source", "why"},
}
"""Keywords that are for readers alone."""

Status = Literal["current", "out of date", "other machine"]


@dataclass(frozen=True)
class Probe:
    """What the code did: the page's hash, the machine, and hashes of weights and of each arm."""

    page: str
    machine: str
    weights: str
    arms: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Probe":
        """From what :meth:`to_dict` made."""
        return cls(plain["page"], plain["machine"], plain["weights"], dict(plain["arms"]))


def machine() -> str:
    """What the bits of a float depend on, apart from the code."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {capability} torch {torch.__version__} numpy {np.__version__}"


def probe(claim: Claim) -> Probe:
    """Run the experiment for a few steps and hash what it does. One thread, seconds."""
    trial = Trial(PILOT, probing=True)
    figures = claim.run(trial)
    arms = {
        arm: _short(repr(sorted((m, v) for m, v in found.items() if m not in claim.timed)))
        for arm, found in figures.items()
    }
    return Probe(page_hash(claim.file), machine(), _short(repr(trial.recorded)), arms)


def status(stored: Probe, now: Probe) -> Status:
    """Whether results with the one probe are what code with the other gives."""
    if stored.page != now.page:
        return "out of date"
    if stored.machine != now.machine:
        return "other machine"
    same = stored.weights == now.weights and stored.arms == now.arms
    return "current" if same else "out of date"


def page_hash(file: Path) -> str:
    """A hash of a page's syntax, without comments, docstrings and texts for readers."""
    return _page_hash(file, file.stat().st_mtime_ns)


@cache
def _page_hash(file: Path, _: int) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts = TEXTS.get(node.func.id, set())
            node.keywords = [word for word in node.keywords if word.arg not in texts]
    return _short(ast.dump(tree))


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
