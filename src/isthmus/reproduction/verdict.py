"""From what the seeds measured to a verdict, by the rules of the study's page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from isthmus.evaluation.intervals import Estimate, over_seeds
from isthmus.studies import Check, Figures, Study

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Finding:
    """A check with what was found: each seed, the mean, and the control where there is one."""

    check: Check
    seeds: list[float]
    estimate: Estimate
    verdict: Verdict
    control: Estimate | None
    control_fails: bool | None


def side(check: Check, estimate: Estimate) -> Verdict:
    """Holds or fails where the whole interval lies on that side of the threshold."""
    if math.isnan(estimate.mean):
        return "undecided"
    passed = {check.passes(estimate.low), check.passes(estimate.high)}
    if len(passed) == 2:
        return "undecided"
    return "holds" if passed.pop() else "fails"


def judge_check(check: Check, figures: Sequence[Figures]) -> Finding:
    """One check over all seeds.

    A control that holds as well leaves a passed check undecided: it could not have failed.
    """
    seeds = [_value(check.value, one) for one in figures]
    estimate = over_seeds(seeds)
    verdict, control, fails = side(check, estimate), None, None
    if check.control is not None:
        control = over_seeds([_value(check.control, one) for one in figures])
        fails = side(check, control) == "fails"
        if verdict == "holds" and not fails:
            verdict = "undecided"
    return Finding(check, seeds, estimate, verdict, control, fails)


def judge(study: Study, figures: Sequence[Figures]) -> tuple[Verdict, list[Finding]]:
    """The verdict on a claim: fails with any required check, holds with all of them.

    Undecided where a premise does not hold: the experiment was not the one that was meant.
    """
    findings = [judge_check(check, figures) for check in study.checks]
    if any(found.check.premise and found.verdict != "holds" for found in findings):
        return "undecided", findings
    required = [found.verdict for found in findings if found.check.required]
    if "fails" in required:
        return "fails", findings
    return ("undecided" if "undecided" in required else "holds"), findings


def _value(quantity: object, figures: Figures) -> float:
    assert callable(quantity)
    try:
        return float(quantity(figures))
    except ZeroDivisionError:
        return math.nan
