"""From what the seeds measured to a word, by the rules that the claim's page declares."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from isthmus.evaluation.intervals import Estimate, student
from isthmus.studies import Claim, Figures, Quantity
from isthmus.studies.checks import Published, Threshold

Word = Literal["supported", "contradicted", "not resolved", "not testable here"]

WORDS: tuple[Word, ...] = ("supported", "contradicted", "not resolved", "not testable here")

Curve = Mapping[float, Figures]
"""What the pilot's seed measured at each budget."""


@dataclass(frozen=True)
class Finding:
    """A quantity with what was found: each seed, the mean with its interval, and which side."""

    text: str
    threshold: Threshold
    null: float
    logarithmic: bool
    seeds: list[float]
    estimate: Estimate
    source: str = "null"
    place: str = ""
    published: Published | None = None

    @property
    def side(self) -> Literal["yes", "no", "not resolved"]:
        """Whether the whole interval lies on the asserted side, on the other, or on neither."""
        if not math.isfinite(self.estimate.mean):
            return "not resolved"
        low, high = self.estimate.low, self.estimate.high
        if self.threshold.passes(low) and self.threshold.passes(high):
            return "yes"
        # An interval that touches the threshold has no side: no effect at all is not the contrary.
        apart = low > self.threshold.number or high < self.threshold.number
        return "no" if apart else "not resolved"

    @property
    def beside(self) -> str:
        """The effect here beside the published one: as published, smaller, larger, opposite."""
        if self.published is None or math.isnan(self.estimate.mean):
            return ""
        if self.estimate.low <= self.published.effect <= self.estimate.high:
            return "as published"
        ours, theirs = (self._distance(x) for x in (self.estimate.mean, self.published.effect))
        if ours * theirs < 0:
            return "opposite"
        return "smaller" if abs(ours) < abs(theirs) else "larger"

    def _distance(self, number: float) -> float:
        if self.logarithmic and number > 0 and self.null > 0:
            return math.log(number / self.null)
        return number - self.null


@dataclass(frozen=True)
class PremiseFound:
    """A premise with its mean over the seeds, and whether it is met."""

    finding: Finding
    met: bool
    why: str


@dataclass(frozen=True)
class Judgement:
    """The word on a claim, and everything that it rests on."""

    word: Word
    reasons: list[str]
    primary: Finding
    positive: Finding
    negative: Finding
    premises: list[PremiseFound]
    secondary: list[Finding]
    curve: dict[float, float] = field(default_factory=dict)


def found_in(
    quantity: Quantity, threshold: Threshold, figures: Sequence[Figures], **about: object
) -> Finding:
    """A quantity over all seeds, with Student's interval of the paired values."""
    seeds = [quantity(one) for one in figures]
    estimate = student(seeds, logarithmic=quantity.logarithmic)
    return Finding(
        quantity.text,
        threshold,
        quantity.null,
        quantity.logarithmic,
        seeds,
        estimate,
        **about,  # type: ignore[arg-type]
    )


def judge(claim: Claim, figures: Sequence[Figures], curve: Curve | None = None) -> Judgement:
    """The word on a claim.

    *Supported* and *contradicted* need the whole interval on one side of the threshold; where a
    premise or the positive control is missed, or the negative control passes, the experiment could
    not have told, and it is *not testable here*. Too few seeds leave it *not resolved*.

    ``curve`` has the pilot's figures at half and the full budget: one more doubling that moves the
    quantity as the last one did must not carry the mean to the other side.
    """
    main = claim.primary
    primary = found_in(
        main.quantity, main.threshold, figures,
        source=main.source, place=main.place, published=main.published,
    )  # fmt: skip
    positive = found_in(main.control("positive"), main.threshold, figures)
    negative = found_in(main.control("negative"), main.threshold, figures)
    premises = []
    for one in claim.premises:
        finding = found_in(one.quantity, one.threshold, figures, source="ours")
        premises.append(PremiseFound(finding, one.threshold.passes(finding.estimate.mean), one.why))
    secondary = [
        found_in(
            one.quantity, one.threshold, figures,
            source=one.source, place=one.place, published=one.published,
        )
        for one in claim.secondary
    ]  # fmt: skip
    points = {budget: main.quantity(figures) for budget, figures in sorted((curve or {}).items())}
    reasons = [f"premise missed: {p.finding.text} {p.finding.estimate.mean:.4g}, "
               f"needed {p.finding.threshold.rule}" for p in premises if not p.met]  # fmt: skip
    if positive.side != "yes":
        reasons.append(f"the positive control is missed: {positive.estimate}")
    if not math.isfinite(negative.estimate.mean):
        reasons.append("the negative control is undefined, so it could not fail")
    if negative.side == "yes":
        reasons.append(f"the negative control passes: {negative.estimate}")
    if len(figures) > 1 and all(_same(one, figures[0], claim.timed) for one in figures):
        reasons.append("all seeds measured the same: the experiment does not depend on its seed")
    if not math.isfinite(primary.estimate.mean) and figures:
        reasons.append("the quantity is undefined for a seed")
    if primary.side != "not resolved" and curve is not None:
        reasons += _unfinished(primary, points)
    word: Word
    if len(figures) < claim.seeds:
        word, reasons = "not resolved", [f"{len(figures)} of {claim.seeds} seeds", *reasons]
    elif reasons:
        word = "not testable here"
    elif primary.side == "not resolved":
        word = "not resolved"
    else:
        word = "supported" if primary.side == "yes" else "contradicted"
    return Judgement(word, reasons, primary, positive, negative, premises, secondary, points)


def _same(one: Figures, other: Figures, timed: Sequence[str]) -> bool:
    """Whether two seeds measured the same numbers throughout, times aside."""
    return all(
        one[arm].get(measure) == value or (math.isnan(value) and math.isnan(one[arm][measure]))
        for arm, measures in other.items()
        for measure, value in measures.items()
        if measure not in timed
    )


def _unfinished(primary: Finding, points: Mapping[float, float]) -> list[str]:
    """Why the arms have not converged, if so: the next doubling might turn the result."""
    half, full = points.get(0.5, math.nan), points.get(1.0, math.nan)
    if not (math.isfinite(half) and math.isfinite(full)):
        return ["the quantity at half and the full budget is not known"]
    mean = primary.estimate.mean
    in_logs = primary.logarithmic and min(half, full) > 0
    then = mean * full / half if in_logs else mean + full - half
    if primary.threshold.passes(then) == primary.threshold.passes(mean):
        return []
    return [f"not converged: from half to the full budget it went from {half:.4g} to {full:.4g}, "
            f"and another doubling would carry it to {then:.4g}"]  # fmt: skip
