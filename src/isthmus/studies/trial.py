"""One seed of a study: how much to do, at which rates, and the fits that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import isthmus
from isthmus.anatomy import Autoencoder
from isthmus.recipes import RecipeLike
from isthmus.studies import fit_cache

PILOT = 0
"""The seed for pilots, for choosing rates and for probes. No word counts it."""

FIRST = 11
"""The first seed that counts. Lower ones were seen while experiments were designed."""

PROBE_STEPS = 20
"""Training steps of a probe, which is there to be compared, not to be good."""

PROBE_ROWS = 2048
"""As many as the largest batch of a study."""

ALL_ROWS = 0.25
"""The budget from which on an experiment has all of its rows."""


@dataclass(frozen=True)
class Trial:
    """One seed of a study.

    budget
        Scales the training steps: 1 is what the word is given at.
    rates
        Learning rates by arm, where they were chosen from a grid.
    shared
        Options of training that all fits of a declared claim share, its controls' included.
    probing
        Twenty steps and few rows, to see whether the code still does the same.
    recorded
        The hash of every model that :meth:`fit` and :meth:`fit_many` made while probing.
    """

    seed: int
    budget: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    probing: bool = False
    recorded: list[str] = field(default_factory=list, compare=False)

    def steps(self, full: int) -> int:
        """``full`` training steps (or epochs) at budget 1, fewer at less, at least one."""
        return min(full, PROBE_STEPS) if self.probing else max(1, round(full * self.budget))

    def rows(self, full: int, least: int = 1) -> int:
        """``full`` rows, from a quarter of the budget on; never fewer than ``least``."""
        if self.probing:
            return min(full, max(least, PROBE_ROWS))
        return min(full, max(least, round(full * min(1.0, self.budget / ALL_ROWS))))

    def rate(self, arm: str, default: float) -> float:
        """The learning rate that was chosen for an arm, or ``default``."""
        return self.rates.get(arm, default)

    def fit(self, recipe: RecipeLike, X: Any, *, steps: int, **options: Any) -> Autoencoder:
        """:func:`isthmus.fit` for ``steps`` at budget 1, with the trial's seed and no bar.

        A fit that was made before, by the same code on the same data, is read from the cache
        (:mod:`isthmus.studies.fit_cache`).
        """
        settings = {"seed": self.seed, "progress": False, **options, "steps": self.steps(steps)}
        if self.probing:
            model = isthmus.fit(recipe, X, **settings)
            self.recorded.append(fit_cache.weights_hash(model))
            return model
        return fit_cache.fitted(recipe, X, settings)

    def fit_many(
        self, variants: Mapping[str, Any], X: Any, *, steps: int, **options: Any
    ) -> dict[str, Autoencoder]:
        """:func:`isthmus.fit_many` in the same way: one pass over the data for all variants."""
        settings = {"seed": self.seed, "progress": False, **options, "steps": self.steps(steps)}
        models = isthmus.fit_many(variants, X, **settings)
        if self.probing:
            self.recorded.extend(fit_cache.weights_hash(model) for model in models.values())
        return models
