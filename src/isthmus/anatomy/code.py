"""The latent of one batch, in the kinds that bottlenecks produce.

Every code offers ``z``: a dense float tensor whose last axes are the latent. A code with a leading
*sample axis* (several draws per example) has ``z`` of shape ``(samples, rows, latent)`` and says
so in ``samples``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Code:
    """A dense code; the base of all kinds. ``z`` is ``(rows, latent)``."""

    z: Tensor
    samples: int | None = None
    """Number of draws per example when ``z`` has a leading sample axis, else None."""

    def __init__(self, z: Tensor) -> None:
        self.z = z

    def tensors(self) -> dict[str, Tensor]:
        """What is stored of this code: name to tensor, the row axis first."""
        return {"z": self.z}

    @classmethod
    def join(cls, codes: Sequence["Code"]) -> "Code":
        """The codes of consecutive batches as one code."""
        first = codes[0]
        joined = {n: torch.cat([c.tensors()[n] for c in codes]) for n in first.tensors()}
        return first._rebuilt(joined)

    def _rebuilt(self, tensors: dict[str, Tensor]) -> "Code":
        return Code(tensors["z"])

    def offgraph(self) -> "Code":
        """The same code off the autograd graph, where it is."""
        return self._rebuilt({name: t.detach() for name, t in self.tensors().items()})

    def detached(self) -> "Code":
        """The same code off the autograd graph and in main memory."""
        return self._rebuilt({name: t.detach().cpu() for name, t in self.tensors().items()})


class _Fields(Code):
    """Codes that are dataclasses: what is stored are their tensor fields."""

    def tensors(self) -> dict[str, Tensor]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: v for name, v in values.items() if isinstance(v, Tensor)}

    def _rebuilt(self, tensors: dict[str, Tensor]) -> Code:
        rest = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        plain: dict[str, Any] = {n: v for n, v in rest.items() if not isinstance(v, Tensor)}
        return type(self)(**{**plain, **tensors})


@dataclass(eq=False)
class GaussianCode(_Fields):
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


class AnySparseCode(Code):
    """A code of which few latents are active, whether it is held sparsely or densely.

    Neither of the following is stored. ``preactivations``, kept during training only, is what the
    bottleneck read, for terms that look at latents which were not selected. ``gates``, for terms
    that train what decides whether a latent is on, are tensors for each entry: of a JumpReLU the
    pre-activations and the log thresholds, of a gated bottleneck the rectified gates; None where
    nothing decides but the values.
    """

    preactivations: Any
    gates: tuple[Tensor, ...] | None

    @property
    def entries(self) -> Tensor:
        """The values that may differ from zero, ``(rows, most)``."""
        raise NotImplementedError


class SparseCode(AnySparseCode):
    """The few active latents of each row, as ``values`` and ``indices``, both ``(rows, most)``.

    ``width`` is the number of latents. Rows with fewer than ``most`` active latents are filled up
    with the value zero (at any index): a latent whose value is zero is not active. ``z`` builds the
    dense ``(rows, width)`` tensor, on request only. Gates are ``(rows, most)``.
    """

    def __init__(
        self,
        values: Tensor,
        indices: Tensor,
        width: int,
        preactivations: Any = None,
        gates: tuple[Tensor, ...] | None = None,
    ) -> None:
        self.values, self.indices, self.width = values, indices, width
        self.preactivations, self.gates = preactivations, gates

    @property
    def z(self) -> Tensor:  # type: ignore[override]
        shape = (*self.values.shape[:-1], self.width)
        return torch.zeros(shape, dtype=self.values.dtype, device=self.values.device).scatter_add(
            -1, self.indices, self.values
        )

    @property
    def entries(self) -> Tensor:
        """The values that may differ from zero, ``(rows, most)``."""
        return self.values

    def tensors(self) -> dict[str, Tensor]:
        return {"values": self.values, "indices": self.indices}

    @classmethod
    def join(cls, codes: Sequence[Code]) -> "Code":
        """The codes of consecutive batches as one; narrower ones are filled up with zeros."""
        parts = [c.tensors() for c in codes]
        if any("z" in part for part in parts):
            return ThresholdCode(torch.cat([c.z for c in codes]))
        most = max(part["values"].shape[-1] for part in parts)
        joined = {
            name: torch.cat([F.pad(p[name], (0, most - p[name].shape[-1])) for p in parts])
            for name in parts[0]
        }
        return codes[0]._rebuilt(joined)

    def _rebuilt(self, tensors: dict[str, Tensor]) -> "SparseCode":
        return SparseCode(tensors["values"], tensors["indices"], self.width)


@dataclass(eq=False)
class ThresholdCode(_Fields, AnySparseCode):
    """A dense code most of whose entries are exactly zero because a threshold cut them.

    ``z`` is ``(rows, width)``. Every latent is an entry: gates are ``(rows, width)``, log
    thresholds ``(width,)``.
    """

    z: Tensor
    preactivations: Any = None
    gates: tuple[Tensor, ...] | None = None

    @property
    def entries(self) -> Tensor:
        """The values that may differ from zero: all of ``z``."""
        return self.z

    def tensors(self) -> dict[str, Tensor]:
        return {"z": self.z}

    @classmethod
    def join(cls, codes: Sequence[Code]) -> "Code":
        return ThresholdCode(torch.cat([c.z for c in codes]))

    def _rebuilt(self, tensors: dict[str, Tensor]) -> Code:
        return ThresholdCode(tensors["z"])


@dataclass(eq=False)
class DiscreteCode(_Fields):
    """Entries of a codebook.

    ``indices`` int64 ``(rows, positions)``; ``z`` the quantised latent that the decoder reads,
    gradients passing straight through; ``quantised`` the same values with gradients to the
    codebook; ``continuous`` the latent before quantisation. ``codebook_size`` entries per
    position, one codebook for each position when ``per_position``.
    """

    z: Tensor
    indices: Tensor
    quantised: Tensor
    continuous: Tensor
    codebook_size: int
    per_position: bool = False


@dataclass(eq=False)
class TokenCode(_Fields):
    """One latent per visible patch: ``tokens`` ``(rows, visible, width)``.

    ``visible`` int64 ``(rows, visible)`` says which patches these are. ``z`` ``(rows, width)`` is
    their mean: what a probe or a nearest-neighbour search reads.
    """

    z: Tensor
    tokens: Tensor
    visible: Tensor


@dataclass(eq=False)
class EmbeddingCode(_Fields):
    """A representation ``z`` and the projection of it that the objective compares."""

    z: Tensor
    embedding: Tensor
