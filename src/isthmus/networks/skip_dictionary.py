"""A dictionary beside a linear map of its input, ``z W + b + S x``, and the codes that carry it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Code, Residual, SparseCode, ThresholdCode, expect
from isthmus.networks.dictionary import Dictionary


class Skipped:
    """What the codes of a :class:`SkipDictionary` hold besides: ``skip`` ``(rows, d written)``.

    A decoder sees the code alone, so that the part of the reconstruction that is no latent's has to
    be in it.
    """

    skip: Tensor

    @property
    def latents(self) -> Code:
        """The code without what was skipped."""
        raise NotImplementedError

    @classmethod
    def join(cls, codes: Sequence[Code]) -> Code:
        """The codes of consecutive batches as one, sparse ones and dense ones alike."""
        skip_codes = [expect(code, Skipped, "code", "a code with a skip") for code in codes]
        plain = [code.latents for code in skip_codes]
        return with_skip(type(plain[0]).join(plain), torch.cat([code.skip for code in skip_codes]))


@dataclass(eq=False)
class SkipSparseCode(Skipped, SparseCode):
    """A :class:`SparseCode` with what the input adds to the reconstruction by itself."""

    skip: Tensor = None  # type: ignore[assignment]  # fields before it have defaults

    @property
    def latents(self) -> Code:
        return SparseCode(self.values, self.indices, self.width, self.preactivations, self.gates)


@dataclass(eq=False)
class SkipThresholdCode(Skipped, ThresholdCode):
    """A :class:`ThresholdCode` with what the input adds to the reconstruction by itself."""

    skip: Tensor = None  # type: ignore[assignment]  # fields before it have defaults

    @property
    def latents(self) -> Code:
        return ThresholdCode(self.z, self.preactivations, self.gates)


def with_skip(code: Code, skip: Tensor) -> Code:
    """The code, carrying ``skip`` ``(rows, d written)``."""
    if isinstance(code, SparseCode):
        about = (code.values, code.indices, code.width, code.preactivations, code.gates)
        return SkipSparseCode(*about, skip=skip)
    code = expect(code, ThresholdCode, "code", "a dictionary with a skip")
    return SkipThresholdCode(code.z, code.preactivations, code.gates, skip=skip)


class SkipDictionary(Dictionary):
    """A :class:`Dictionary` with an affine skip, ``z W + b + S x`` (Paulo et al. 2025, section 3).

    ``skip_weight`` is ``S`` ``(d written, inputs)``, zero at first; ``x`` is what the encoder read.
    The bottleneck lets its codes carry ``S x`` (:meth:`carried`).
    """

    latents_suffice = False

    def __init__(
        self, width: int, shape: tuple[int, ...], inputs: int, *, unit: bool = True
    ) -> None:
        super().__init__(width, shape, unit=unit)
        self.skip_weight = nn.Parameter(torch.zeros(self.weight.shape[1], inputs))

    @property
    def skip(self) -> Tensor:
        """``S``, ``(d written, inputs)``, in the model's units."""
        return self.skip_weight

    def carried(self, code: Code, x: Tensor) -> Code:
        """The code with ``S x`` of the rows ``x`` ``(rows, inputs)``, in the model's units."""
        return with_skip(code, F.linear(x, self.skip_weight))

    @torch.no_grad()
    def rescale(self, scale: Tensor, offset: Tensor) -> None:
        """Write ``y scale + offset`` for ``y``, in place."""
        super().rescale(scale, offset)
        self.skip_weight.mul_(scale.reshape(-1, 1))

    @torch.no_grad()
    def reread(self, scale: Tensor, offset: Tensor) -> None:
        """Skip ``(x - offset) / scale`` where ``x`` was skipped, in place."""
        self.skip_weight.div_(scale)
        self.bias.sub_(self.skip_weight @ offset.expand(self.skip_weight.shape[1]))

    def decode(self, code: Code) -> Tensor:
        """The reconstruction, ``(rows, *shape)``; of a code that carries nothing that of zero x."""
        plain = super().decode(code)
        return plain + code.skip.unflatten(1, self.shape) if isinstance(code, Skipped) else plain

    def error(self, code: Code, target: Tensor) -> Residual | None:
        """As of a dictionary whose target lacks what was skipped."""
        rest = target.flatten(1) - code.skip if isinstance(code, Skipped) else target
        return super().error(code, rest)


def skip_carried(model: Autoencoder | None, code: Code, x: Tensor) -> Code:
    """The code as the model's decoder wants it: with what skips, where something does."""
    decoder = None if model is None else model.decoder
    return decoder.carried(code, x) if isinstance(decoder, SkipDictionary) else code
