"""Rows so far from all that a model knows that single precision cannot hold what is said of them.

A cell of 1e30 has a square of 1e60, which float32 calls infinite: every column of the row would
speak against it alike, and so the wrong one would be named. Such rows, and no others, are measured
once more by a copy of the model in double precision.
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isthmus.anatomy import tree
from isthmus.anatomy.batch import Batch
from isthmus.anatomy.evaluation_mode import evaluating
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder

Measure = Callable[["Autoencoder", Batch], Tensor]


class Overflow:
    """``measure(model, batch)``, ``(rows, ...)``, with finite numbers wherever double has them.

    The values are float32, and float64 of a batch some of whose rows float32 cannot hold. What is
    not finite in double precision either is what ``beyond(twin, batch)`` says of these rows.
    """

    def __init__(self, model: "Autoencoder", measure: Measure, beyond: Measure) -> None:
        self.model, self.measure, self.beyond = model, measure, beyond
        self._twin: Autoencoder | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """The values of a checked batch on the model's device, on the CPU."""
        values = self.measure(self.model, batch).cpu()
        lost = _lost(values)
        if not len(lost):
            return values
        few = _wide(batch, lost)
        values = values.double()
        values[lost] = self._again(few)
        lost = lost[(still := _lost(values[lost]))]
        if len(lost):
            values[lost] = self.beyond(self.twin, _wide(few, still)).double()
        return values

    @property
    def twin(self) -> "Autoencoder":
        """The model in double precision, on the CPU: not every accelerator has doubles.

        An error where its own weights are no numbers: then no row is to blame.
        """
        if self._twin is None:
            for name, weight in self.model.named_parameters():
                if not torch.isfinite(weight).all():
                    raise IsthmusError(
                        f"the model's weights hold NaN or infinity, in {name}: fit it again, or "
                        "load another file"
                    )
            self._twin = copy.deepcopy(self.model).cpu().double()
        return self._twin

    def _again(self, batch: Batch) -> Tensor:
        with evaluating(self.twin):
            return self.measure(self.twin, batch).double()


def _lost(values: Tensor) -> Tensor:
    return (~torch.isfinite(values).reshape(len(values), -1).all(1)).nonzero().flatten()


def _wide(batch: Batch, index: Tensor) -> Batch:
    """Some rows in double precision, on the CPU."""
    batch = batch.to(torch.device("cpu"))
    mask = None if batch.mask is None else tree.mapped(lambda m: _taken(m, index), batch.mask)
    return Batch(
        tree.mapped(_double, tree.chosen(batch.x, index)),
        None if batch.rows is None else batch.rows[index],
        mask,
        {name: _double(value[index]) for name, value in batch.given.items()},
    )


def _taken(mask: Tensor | None, index: Tensor) -> Tensor | None:
    return None if mask is None else mask[index]


def _double(leaf: Tree) -> Tree:
    real = isinstance(leaf, Tensor) and leaf.is_floating_point()
    return leaf.double() if real else leaf
