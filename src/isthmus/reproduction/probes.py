"""Whether stored results are still what the code gives: the page's syntax, and a short probe.

A claim's own page counts by its syntax, less its texts, and so do the benches and helpers among the
studies that it imports: a probe takes few rows, and would not see that a bench takes fewer. The
library counts by what it does: every fit of the experiment is run for twenty steps on few rows, and
hashes of the weights and of the figures are kept beside the results. The same bits mean the same
code, as far as twenty steps tell: an edit of a comment or of the progress bar changes none, a
changed constant of an optimiser changes those of the arms that use it. Bits depend on the processor
and on torch: elsewhere nothing is told.
"""

import ast
import hashlib
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from isthmus import studies
from isthmus.reproduction.judging import judge
from isthmus.studies import PILOT, Claim, Trial, trial

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
    """Run the experiment for a few steps and hash what it does: seconds, on one thread.

    The sums of several threads have other bits, so that their number must not depend on who asks.
    """
    probing = Trial(PILOT, probing=True)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of few rows
        figures = claim.run(probing)
    judge(claim, [figures])  # an error where a check wants what is not measured
    arms = {
        arm: _short(repr(sorted((m, v) for m, v in measures.items() if m not in claim.timed)))
        for arm, measures in figures.items()
    }
    return Probe(page_hash(claim.file), machine(), _short(repr(probing.recorded)), arms)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and for the libraries under numpy, scipy and scikit-learn."""
    import scipy.linalg  # noqa: F401  # a library that is loaded later would have its own number
    import sklearn.utils  # noqa: F401
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def status(stored: Probe, now: Probe) -> Status:
    """Whether results with the one probe are what code with the other gives."""
    if stored.page != now.page:
        return "out of date"
    if stored.machine != now.machine:
        return "other machine"
    same = stored.weights == now.weights and stored.arms == now.arms
    return "current" if same else "out of date"


def page_hash(file: Path) -> str:
    """A hash of the syntax of a page, and of what it imports from the rooms of the studies.

    Without comments, docstrings and texts for readers. What lies beside these rooms (how a claim is
    declared, how a trial is run) counts by what it does, as the rest of the library.
    """
    hashes: dict[Path, str] = {}
    waiting = [file, Path(trial.__file__)]  # also how budgets scale a trial
    while waiting:
        one = waiting.pop()
        if one not in hashes:
            hashes[one], imported = _syntax(one, one.stat().st_mtime_ns)
            waiting += imported
    first = hashes.pop(file)
    return _short("".join([first, *sorted(hashes.values())]))


@cache
def _syntax(file: Path, _: int) -> tuple[str, tuple[Path, ...]]:
    """The hash of one file, and the files of the studies' rooms that it imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = tuple(path for name in _imports(tree) for path in _room(name))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts = TEXTS.get(node.func.id, set())
            node.keywords = [word for word in node.keywords if word.arg not in texts]
    return _short(ast.dump(tree)), imported


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(name: str) -> list[Path]:
    """The file of a module in a package under ``isthmus.studies``; none for any other name."""
    parts = name.split(".")
    if parts[:2] != ["isthmus", "studies"] or len(parts) < 4:
        return []
    path = Path(studies.__file__).parent.joinpath(*parts[2:]).with_suffix(".py")
    return [path] if path.exists() else []


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
