"""Checks claims, keeps what is found, and gives the word by the rules on their pages."""

from isthmus.evaluation.intervals import Estimate
from isthmus.reproduction.judging import WORDS, Finding, Judgement, Word, judge
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.reproduction.runner import RESULTS, reproduce, status_of

__all__ = [
    "RESULTS", "WORDS", "Estimate", "Finding", "Judgement", "Outcome", "TrialResult", "Word",
    "judge", "reproduce", "status_of",
]  # fmt: skip
