"""Keeping a given number of latents of each row."""

import sys
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import (
    Autoencoder,
    Linear,
    Look,
    Part,
    Rule,
    Ruled,
    SparseCode,
    Step,
    View,
    norms,
    unstored,
)
from isthmus.bottlenecks.dictionary_start import fit_scale, sampled, start_at_median
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.ranks import cut_among, shard_held

ANNEALED = 0.1
"""Share of the run over which k falls to its end."""


@dataclass(eq=False)
class WideSparseCode(SparseCode):
    """A sparse code that also holds the larger number of latents it was chosen from.

    ``wide_values`` and ``wide_indices`` ``(rows, wide)`` include the ``values`` and ``indices``.
    """

    wide_values: Tensor = unstored()
    wide_indices: Tensor = unstored()

    @property
    def wide(self) -> SparseCode:
        """The code with more latents."""
        return SparseCode(self.wide_values, self.wide_indices, self.width)


class TopK(Ruled, Part):
    """Keeps the k largest pre-activations of each row, rectified; counts who fires in training.

    ``k`` may be set at any time, to a number from 1 to the width. A model is loaded with the k that
    it was fitted with.

    magnitude
        The k largest by absolute value, their sign kept (AbsTopK).
    wide
        A larger number of latents, which the training path keeps as well, in a
        :class:`WideSparseCode`. Who fires is counted among the k.
    start
        The k of the first training step, from which it falls to k in a straight line over the
        first tenth of the run (He et al. 2024, Llama Scope). Evaluation always has k. Less than k
        is an :class:`IsthmusError`.
    weigh
        Multiply the pre-activations by the norms of the decoder's rows when they are compared (not
        when they are used; He et al. 2024).
    fit_scale
        Multiply the encoder by the number with which the first reconstruction is best. Atoms that
        overlap overshoot, the more so with the larger k of the start, and the steps that mend it
        spoil the atoms as well.
    """

    by_latent = ()

    def __init__(
        self,
        width: int,
        k: int,
        dead_after: int,
        *,
        magnitude: bool = False,
        wide: int | None = None,
        start: int | None = None,
        weigh: bool = False,
        fit_scale: bool = False,
    ) -> None:
        super().__init__()
        if start is not None and start < k:
            raise IsthmusError(
                f"k_start={start} is less than k={k}, to which it falls: choose a k_start of {k} "
                "or more"
            )
        self.fit_scale = fit_scale
        self.width, self.k, self.magnitude, self.wide = width, k, magnitude, wide
        self.annealing = Linear(k if start is None else start, k, sys.maxsize, fit=ANNEALED)
        self.weigh = weigh
        self.counter = FiringCounter(width, dead_after)

    @property
    def k(self) -> int:
        """The latents of each row."""
        return self._k

    @k.setter
    def k(self, count: Any) -> None:
        whole = isinstance(count, Integral) and not isinstance(count, bool)
        if not (whole and 0 < count <= self.width):
            raise IsthmusError(
                f"k={count} is no number of latents to keep: choose a whole one from 1 to "
                f"{self.width}"
            )
        self._k = int(count)

    def forward(
        self,
        h: Preactivations,
        *,
        sample: bool = False,
        step: Step | None = None,
        model: Autoencoder | None = None,
    ) -> SparseCode:
        training = sample and self.training
        k = self.k if step is None or not training else round(self.annealing(step.clock))
        most = min(self.width, max(k, self.wide or 0)) if sample else k
        lengths = self._norms(model)
        values, indices = self._top(h, most, lengths)
        if sample and self.wide is not None:
            code: SparseCode = WideSparseCode(
                *_strongest(values, indices, k, lengths), h.width, h,
                wide_values=values, wide_indices=indices,
            )  # fmt: skip
        else:
            code = SparseCode(values, indices, h.width, h if sample else None)
        return code

    def rule(self) -> Rule:
        """So many of a row."""
        return Rule("abstopk" if self.magnitude else "topk", self.k, weigh=self.weigh)

    def times(self, factors: Tensor) -> None:
        """Nothing, where latents are compared by their contribution or all grow alike."""
        check_order(factors, self.weigh)

    def _norms(self, model: Autoencoder | None) -> Tensor | None:
        if not self.weigh:
            return None
        assert model is not None
        return norms(model).detach()

    def _top(self, h: Preactivations, k: int, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        values, indices = h.top(k, magnitude=self.magnitude, priority=lengths)
        return (values if self.magnitude else torch.relu(values)), indices

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start the decoder's bias at the geometric median of the data, and fit the scale."""
        start_at_median(model, look.x)
        if not self.fit_scale:
            return
        some = sampled(look.x)
        h = model.encode_view(View(some))
        values, indices = self._top(h, round(self.annealing.start), self._norms(model))
        fit_scale(model, some, SparseCode(values, indices, self.width))


def check_order(factors: Tensor, weighed: bool) -> None:
    """An error where latents that grow by different factors are compared by size alone."""
    if not weighed and not torch.allclose(factors, factors[:1]):
        raise IsthmusError(
            "latents are chosen by their size, and would be others if each was multiplied by the "
            "length of its atom: leave the atoms as they are, or convert the model by "
            "isthmus.recipes.sparse.jumprelu.to_jumprelu first"
        )


def _strongest(
    values: Tensor, indices: Tensor, k: int, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The k largest of each row's entries, and their latents: of all ranks those held here."""
    key = values.detach().abs()
    key = key if lengths is None else key * lengths[indices]
    shard = shard_held()
    best = key.topk(min(k, key.shape[1]), dim=1, sorted=shard is not None).indices
    values, latents = values.gather(1, best), indices.gather(1, best)
    if shard is not None:
        values = torch.where(cut_among(key.gather(1, best), k, shard), values, 0.0)
    return values, latents
