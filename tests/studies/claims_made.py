"""A claim made for tests, with figures that are given."""

from pathlib import Path

from isthmus.studies import Claim, Primary, less

ABOUT = {
    "name": "made", "family": "made", "catalogue": 7, "paper": "A paper, with a | in it",
    "statement": "It is large.", "headline": "none", "setting": "A made setting.",
    "arms": {"method": "the method", "other": "its rival", "best": "positive", "null": "negative"},
    "primary": Primary(
        less("size", "method", "other"), above=0.0, positive="best", negative="null"
    ),
    "file": Path(__file__),
}  # fmt: skip


def a_claim(experiment=None, **changes):
    """A claim that asserts that the method is larger than the other."""
    return Claim(**{**ABOUT, "experiment": experiment or figures, **changes})


def figures(trial=None, *, method=2.0, other=1.0, best=5.0, null=1.0):
    """One seed's figures."""
    sizes = {"method": method, "other": other, "best": best, "null": null}
    return {arm: {"size": size} for arm, size in sizes.items()}


def seeds(effects, **others):
    """Figures of as many seeds, with these effects; the null is noise about zero."""
    return [
        figures(method=1.0 + effect, null=1.0 + 0.01 * (-1) ** i, **others)
        for i, effect in enumerate(effects)
    ]
