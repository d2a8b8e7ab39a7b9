"""The kinds of codes that the bottlenecks of this library produce."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy.code import Code, unstored
from isthmus.errors import IsthmusError


@dataclass(eq=False)
class GaussianCode(Code):
    """A diagonal Gaussian posterior.

    ``mean`` and ``logvar`` (natural log of the variance) are ``(rows, latent)``; ``z`` is the mean
    where the code is deterministic, else a draw, with a leading axis where ``samples`` is set.
    """

    z: Tensor
    mean: Tensor
    logvar: Tensor
    samples: int | None = None

    def draw(self, samples: int) -> "GaussianCode":
        """The same posterior with ``samples`` fresh draws on a leading axis."""
        noise = torch.randn((samples, *self.mean.shape), device=self.mean.device).to(self.mean)
        return GaussianCode(
            self.mean + noise * (0.5 * self.logvar).exp(), self.mean, self.logvar, samples
        )

    def drawn_at(self, noise: Tensor) -> tuple[Code, Tensor]:
        """Draws at ``noise`` ``(draws, *latent)``, alike for every row, and their weights."""
        z = self.mean + noise.unsqueeze(1) * (0.5 * self.logvar).exp()
        share = torch.full(z.shape[:2], 1.0 / len(z), device=z.device)
        return self.replaced(z=z, samples=len(z)), share

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) in nats, ``(draws, rows, *latent)`` to ``(draws, rows)``."""
        far = (z - self.mean).square() * (-self.logvar).exp()
        return -0.5 * (far + self.logvar + math.log(2 * math.pi)).flatten(2).sum(2)


class AnySparseCode(Code):
    """A code of which few latents are active, whether it is held sparsely or densely.

    Neither of the following is stored. ``preactivations``, kept during training only, is what the
    bottleneck read, for terms that look at latents which were not selected. ``gates``, for terms
    that train what decides whether a latent is on, are tensors for each entry: of a JumpReLU the
    pre-activations and the log thresholds, of a gated bottleneck the rectified gates; None where
    nothing decides but the values.
    """

    is_sparse = True
    if TYPE_CHECKING:  # fields of each kind, after its own
        preactivations: Any
        gates: tuple[Tensor, ...] | None

    @property
    def entries(self) -> Tensor:
        """The values that may differ from zero, ``(rows, most)``."""
        raise NotImplementedError


@dataclass(eq=False)
class SparseCode(AnySparseCode):
    """The few active latents of each row, as ``values`` and ``indices``, both ``(rows, most)``.

    ``width`` is the number of latents. Rows with fewer than ``most`` active latents are filled up
    with the value zero (at any index): a latent whose value is zero is not active. ``z`` builds the
    dense ``(rows, width)`` tensor, on request only. Gates are ``(rows, most)``.
    """

    values: Tensor
    indices: Tensor
    # With ``field``, or the base's property would be taken for the default.
    width: int = field()
    preactivations: Any = unstored()
    gates: tuple[Tensor, ...] | None = unstored()

    @property
    def z(self) -> Tensor:  # type: ignore[override]
        shape = (*self.values.shape[:-1], self.width)
        return torch.zeros(shape, dtype=self.values.dtype, device=self.values.device).scatter_add(
            -1, self.indices, self.values
        )

    def __len__(self) -> int:
        return len(self.values)

    def checked(self) -> "SparseCode":
        """The same with whole numbers of 64 bits; an error where it names latents that are not."""
        if self.values.shape != self.indices.shape or self.indices.is_floating_point():
            raise IsthmusError(
                f"values of shape {tuple(self.values.shape)} and indices of shape "
                f"{tuple(self.indices.shape)} ({self.indices.dtype}) are no sparse code: pass one "
                "whole number a value"
            )
        if self.indices.numel():
            low, high = map(int, self.indices.aminmax())
            if low < 0 or high >= self.width:
                wrong = low if low < 0 else high
                raise IsthmusError(
                    f"the code names latent {wrong} of {self.width}: latents are counted from 0 to "
                    f"{self.width - 1}"
                )
        return self.replaced(indices=self.indices.long())

    @property
    def entries(self) -> Tensor:
        """The values that may differ from zero, ``(rows, most)``."""
        return self.values

    def active(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, latent and value of the entries that are not zero, each ``(entries,)``, by row."""
        on = self.values != 0
        return torch.nonzero(on)[:, 0], self.indices[on], self.values[on]

    @classmethod
    def join(cls, codes: Sequence[Code]) -> Code:
        """The codes of consecutive batches as one; narrower ones are filled up with zeros.

        With one of them a :class:`ThresholdCode`, the whole is one.
        """
        sparse = [code for code in codes if isinstance(code, SparseCode)]
        if len(sparse) < len(codes):
            return ThresholdCode.join(codes)
        most = max((code.values.shape[1] for code in sparse), default=0)
        return super().join([code._filled(most) for code in sparse])

    def _filled(self, most: int) -> "SparseCode":
        free = most - self.values.shape[1]
        if not free:
            return self
        return self.replaced(
            values=F.pad(self.values, (0, free)), indices=F.pad(self.indices, (0, free))
        )


@dataclass(eq=False)
class ThresholdCode(AnySparseCode):
    """A dense code most of whose entries are exactly zero because a threshold cut them.

    ``z`` is ``(rows, width)``. Every latent is an entry: gates are ``(rows, width)``, log
    thresholds ``(width,)``.
    """

    z: Tensor
    preactivations: Any = unstored()
    gates: tuple[Tensor, ...] | None = unstored()

    @property
    def entries(self) -> Tensor:
        """The values that may differ from zero: all of ``z``."""
        return self.z

    def active(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, latent and value of the entries that are not zero, each ``(entries,)``, by row."""
        z = self.z.flatten(1)
        row, latent = torch.nonzero(z, as_tuple=True)
        return row, latent, z[row, latent]

    @classmethod
    def join(cls, codes: Sequence[Code]) -> Code:
        """The codes of consecutive batches as one; a :class:`SparseCode` is made dense."""
        kinds = (SparseCode, ThresholdCode)
        if any(isinstance(c, SparseCode) for c in codes) and all(
            isinstance(c, kinds) for c in codes
        ):
            codes = [ThresholdCode(code.z) for code in codes]
        return super().join(codes)


@dataclass(eq=False)
class DiscreteCode(Code):
    """Entries of a codebook.

    ``indices`` int64 ``(rows, positions)``; ``z`` the quantised latent that the decoder reads,
    gradients passing straight through; ``quantised`` the same values with gradients to the
    codebook; ``continuous`` the latent before quantisation. ``codebook_size`` entries per
    position, one codebook for each position when ``per_position``.

    Its latents are the entries: ``width`` counts those of all codebooks.
    """

    z: Tensor
    indices: Tensor
    quantised: Tensor
    continuous: Tensor
    codebook_size: int
    per_position: bool = False

    @property
    def width(self) -> int:
        """Number of entries, of all positions where each has a codebook of its own."""
        return self.codebook_size * (self.indices.shape[1] if self.per_position else 1)

    def active(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, entry and the value one for each position, ``(rows * positions,)``, by row."""
        entry, device = self.indices, self.indices.device
        if self.per_position:
            entry = entry + self.codebook_size * torch.arange(entry.shape[1], device=device)
        row = torch.arange(len(entry), device=device).repeat_interleave(entry.shape[1])
        return row, entry.flatten(), torch.ones(entry.numel(), device=device)


@dataclass(eq=False)
class TokenCode(Code):
    """One latent per visible patch: ``tokens`` ``(rows, visible, width)``.

    ``visible`` int64 ``(rows, visible)`` says which patches these are. ``z`` ``(rows, width)`` is
    their mean: what a probe or a nearest-neighbour search reads.
    """

    z: Tensor
    tokens: Tensor
    visible: Tensor


@dataclass(eq=False)
class EmbeddingCode(Code):
    """A representation ``z`` and the projection of it that the objective compares."""

    z: Tensor
    embedding: Tensor
