"""What to take, and how sure that is."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isthmus.comparison.tasks import BASELINES
from isthmus.evaluation.intervals import Estimate

if TYPE_CHECKING:
    from isthmus.comparison.comparison_results import Comparison

MANY = 10
"""Seeds up to which more are advised."""
NOT_TAKEN = ("untrained",)
"""Baselines that stand there to be beaten, and are never what to take."""


@dataclass(frozen=True)
class Verdict:
    """``take`` is the method to take, ``sentence`` says why and how sure that is.

    ``tied`` are the methods that cannot be told from the best one, ``warning`` says what the
    figures do not show; empty where there is nothing of the kind.
    """

    take: str
    sentence: str
    tied: tuple[str, ...] = ()
    warning: str = ""


def verdict(found: "Comparison") -> Verdict:
    """The best method where its advantage is certain, else the smallest of those that may be best.

    Certain is an advantage whose paired interval over the seeds
    (:func:`isthmus.evaluation.intervals.paired`) does not hold zero.
    """
    ranked = [name for name in found.ranking if _known(found, name)]
    candidates = [name for name in ranked if name not in NOT_TAKEN] or ranked
    if not candidates:
        first = found.ranking[0]
        return Verdict(first, f"{first} is measured, but its figures are undefined on some seeds.")
    best, measure, seeds = candidates[0], _named(found.measures[0]), found.settings.seeds
    others = candidates[1:]
    warning = _warning(found, best, ranked)
    if not others:
        return Verdict(best, f"{best} is the only method that was measured.", (), warning)
    second = others[0]
    gap = found.gap(best, second)
    if seeds == 1:
        sentence = (
            f"{best} ranks first: {_gap(gap)} better than {second} in {measure}. One seed does not "
            "say how sure that is: ask for five with --seeds 5."
        )
        return Verdict(best, sentence, (), warning)
    tied = _tied(found, best, others)
    if not tied:
        wins = _wins(found, best, second)
        sentence = (
            f"Take {_called(best)}: better than {second}, the next best, by {_gap(gap)} in "
            f"{measure} {_interval(gap)}, in {wins} of {seeds} seeds."
        )
        return Verdict(best, sentence, (), warning)
    take = min((best, *tied), key=lambda name: (found.of(name)[0].parameters, name))
    smaller = "the smallest" if len(tied) > 1 else "the smaller one"
    number = found.of(take)[0].parameters
    sentence = (
        f"Take {_called(take)}: {_listed((best, *tied))} cannot be told apart in {measure} (the "
        f"difference of {best} and {second} is {_gap(gap)}, and its interval {_interval(gap)} "
        f"holds zero), so {smaller} will do, with {number:,} parameters."
    )
    if seeds < MANY:
        sentence += f" More seeds may tell them apart: --seeds {MANY} goes on from here."
    return Verdict(take, sentence, tied, warning)


def _tied(comparison: "Comparison", best: str, others: list[str]) -> tuple[str, ...]:
    """Those after the best, in their order, up to the first that is certainly worse.

    One that ranks behind that is worse too, however much its own figures vary.
    """
    tied = []
    for name in others:
        if comparison.gap(best, name).low > 0:
            break
        tied.append(name)
    return tuple(tied)


def _known(comparison: "Comparison", name: str) -> bool:
    return not math.isnan(comparison.estimate(name, comparison.measures[0]).mean)


def _warning(comparison: "Comparison", best: str, ranked: list[str]) -> str:
    """Where training, or a recipe, brings nothing that these figures show."""
    place = ranked.index(best)
    seeds = comparison.settings.seeds
    tied = () if seeds == 1 else _tied(comparison, best, ranked[place + 1 :])
    if "untrained" in (*ranked[:place], *tied):
        return (
            "Even a network that was not trained cannot be told from the best by "
            f"{seeds} seed{'s' * (seeds > 1)}: these figures do not show that training helps."
        )
    recipes = [name for name in ranked if name not in BASELINES]
    if best not in BASELINES or not recipes:
        return ""
    gap = comparison.gap(best, recipes[0])
    if gap.low > 0:
        return (
            f"No recipe is as good as the baseline {best}: the best one, {recipes[0]}, is behind "
            f"by {_gap(gap)} {_interval(gap)}."
        )
    return f"No recipe is shown to be better than the baseline {best}."


def _wins(comparison: "Comparison", best: str, other: str) -> int:
    first = comparison.measures[0]
    sign = 1.0 if comparison.task.measures[first] else -1.0
    pairs = zip(comparison.of(best), comparison.of(other), strict=True)
    return sum(sign * (a.measures[first] - b.measures[first]) > 0 for a, b in pairs)


def _called(name: str) -> str:
    """A method's name, of a baseline with what it is."""
    return f"{name} ({BASELINES[name]})" if name in BASELINES else name


def _gap(gap: Estimate) -> str:
    return f"{gap.mean:.3g}"


def _interval(gap: Estimate) -> str:
    if not math.isfinite(gap.low):
        return "(no interval from one seed)"
    return f"[{gap.low:.3g}, {gap.high:.3g}]"


def _named(measure: str) -> str:
    return measure.replace("_", " ")


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
