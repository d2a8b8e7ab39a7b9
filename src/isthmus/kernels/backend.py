"""What an implementation of the sparse products offers; :mod:`isthmus.kernels.dispatch` chooses."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True, eq=False)
class SparseFactor:
    """``sum_n sum_j values[n, j] dense[n]`` to row ``indices[n, j]``.

    ``values``, ``indices`` ``(rows, k)``; ``dense`` ``(rows, d)``.
    """

    values: Tensor
    indices: Tensor
    dense: Tensor


@dataclass(frozen=True)
class AdamStep:
    """The numbers of one step of Adam (Kingma, Ba 2015, algorithm 1).

    ``correction1`` and ``correction2`` are 1 - beta^t, ``weight_decay`` is added to the gradient.
    With ``unit`` the gradient's part along a row is removed first, and the row is brought back to
    norm 1 afterwards.
    """

    lr: float
    beta1: float
    beta2: float
    eps: float
    correction1: float
    correction2: float
    weight_decay: float = 0.0
    unit: bool = False


class Backend(ABC):
    """One implementation of everything that a sparse dictionary computes.

    Matrices are row-major: ``x`` ``(rows, d)`` examples, ``weight`` or ``atoms`` ``(width, d)`` one
    latent a row, ``values`` and ``indices`` ``(rows, k)`` the active latents of each example.
    Nothing here records derivatives: see :mod:`isthmus.kernels.operators`.
    """

    name: ClassVar[str]
    sparse_from: ClassVar[int] = 48
    """Width over k from which the sparse product is the faster one."""
    fused_error: ClassVar[bool] = False
    """Whether the error comes with the reconstruction for less than one after the other."""
    by_rows: ClassVar[bool] = False
    """Whether an optimiser's step over rows is one pass over the weight."""
    exact_rows: ClassVar[bool] = False
    """Whether the last bits of what is selected in a row do not depend on the rows beside it."""

    @abstractmethod
    def select_top(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        k: int,
        magnitude: bool = False,
        priority: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See :func:`isthmus.kernels.select.select_top`."""

    @abstractmethod
    def select_above(
        self, x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All ``u > cutoff``: values and latents ``(rows, most)``, counts int64 ``(rows,)``.

        Places beyond a row's count hold the value 0 and the latent 0. Where a row has more than
        ``room`` of them there are no places at all, and a count is negative.
        """

    @abstractmethod
    def decode(self, values: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        """``sum_j values[n, j] atoms[indices[n, j]]``, ``(rows, d)``."""

    @abstractmethod
    def decode_error(
        self, values: Tensor, indices: Tensor, atoms: Tensor, bias: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The error ``decode + bias - target`` ``(rows, d)``, its squared length ``(rows,)``, and
        its products with the active atoms ``(rows, k)``."""

    @abstractmethod
    def at_places(self, left: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        """``<left[n], atoms[indices[n, j]]>``, ``(rows, k)``."""

    @abstractmethod
    def by_latent(
        self, values: Tensor | None, indices: Tensor, width: int
    ) -> tuple[Tensor, Tensor]:
        """The entries of ``(rows, k)`` sorted by latent, stable, and where each latent's begin.

        ``order`` ``(rows k,)`` holds numbers of entries, ``offsets`` ``(width + 1,)``. Entries
        whose value is zero are left out; what ``order`` holds beyond the last offset is nothing.
        """

    @abstractmethod
    def row_gradient(
        self, weight: Tensor, factors: Sequence[SparseFactor], rows: "Rows" = ()
    ) -> Tensor:
        """The sum of the factors, and of rows for some latents, as a tensor like ``weight``."""

    @abstractmethod
    def row_adam(
        self,
        weight: Tensor,
        mean: Tensor,
        square: Tensor,
        factors: Sequence[SparseFactor],
        step: AdamStep,
        *,
        gradient: Tensor | None = None,
        rows: "Rows" = (),
        skip: Tensor | None = None,
        half: Tensor | None = None,
    ) -> None:
        """Adam's step on the weight and its moments, in place, from the gradient by its parts.

        ``skip`` is a number on the device: where it is not zero nothing is changed. ``half`` is a
        copy of the weight in another type, which is written with it.
        """

    @abstractmethod
    def sum_by_latent(self, values: Tensor, indices: Tensor, width: int) -> Tensor:
        """``sum of values[n, j] over indices[n, j] == i`` for each latent i, ``(width,)``."""


Rows = Sequence[tuple[Tensor, Tensor]]
"""Parts of a gradient that are ``rows`` ``(some, d)`` for ``latents`` ``(some,)``, distinct ones,
and zero elsewhere."""
