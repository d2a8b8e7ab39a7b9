"""Means over all tokens of a store, added up piece by piece in float64."""

from collections.abc import Mapping

import torch
from torch import Tensor

from isthmus.activations.provenance import Provenance


class Means:
    """The sums behind the means in a store's index, from what the index says on.

    Sums go on from the means that were noted last, as a harvest does that goes on there: whoever
    adds the same pieces and settles after the same shards ends on the same bits.
    """

    def __init__(self, facts: Provenance) -> None:
        self.facts, self.tokens = facts, facts.tokens
        self._sums: dict[str, Tensor] = {}
        self._norms: dict[str, float] = {}
        self._from_noted()

    def add(self, kept: int, sums: Mapping[str, Tensor], norms: Mapping[str, float]) -> None:
        """One piece of ``kept`` tokens: its sums float64 ``(width,)`` and sums of norms."""
        self.tokens += kept
        for point in self.facts.points:
            self._sums[point] += sums[point]
            self._norms[point] += norms[point]

    def settle(self) -> None:
        """Note the means in the index: a shard is full."""
        for point, facts in self.facts.points.items():
            facts.mean = (self._sums[point] / max(1, self.tokens)).tolist()
            facts.mean_norm = self._norms[point] / max(1, self.tokens)
        self._from_noted()

    def _from_noted(self) -> None:
        for point, facts in self.facts.points.items():
            mean = torch.tensor(facts.mean or [0.0] * facts.width, dtype=torch.float64)
            self._sums[point] = mean * self.tokens
            self._norms[point] = facts.mean_norm * self.tokens
