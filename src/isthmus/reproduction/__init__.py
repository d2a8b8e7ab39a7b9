"""Runs studies, keeps what they find, and gives the verdict by the rules on their pages."""

from isthmus.evaluation.intervals import Estimate, over_seeds
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.reproduction.runner import RESULTS, is_current, reproduce
from isthmus.reproduction.verdict import Finding, Verdict

__all__ = [
    "RESULTS", "Estimate", "Finding", "Outcome", "TrialResult", "Verdict", "is_current",
    "over_seeds", "reproduce",
]  # fmt: skip
