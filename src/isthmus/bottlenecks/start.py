"""Where a dictionary starts, from a sample of the data: its centre, its scale, its cutoffs."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, expect
from isthmus.anatomy.each import sole
from isthmus.bottlenecks.sparse import Dictionary, DictionaryEncoder, geometric_median

EARLY = 0.5
"""The first coefficient as a share of its estimate: too low a price is the lesser harm."""
_SAMPLE = 4096
"""Rows that a centre or a scale is fitted to."""
_ELEMENTS = 1 << 22
"""Pre-activations that are looked at: it bounds the memory."""
_MOST_GAIN = 20.0


def dictionary_of(model: Autoencoder) -> tuple[DictionaryEncoder, Dictionary]:
    """The two halves of a model that is a sparse dictionary."""
    who = "a sparse bottleneck"
    encoder = expect(sole(model.encoder), DictionaryEncoder, "encoder", who)
    return encoder, model.part_as("decoder", Dictionary, who)


def sample_of(x: Tensor, most: int = _SAMPLE) -> Tensor:
    """At most ``most`` of the rows, evenly spread."""
    return x[:: -(-len(x) // most)]


@torch.no_grad()
def start_at_median(model: Autoencoder, x: Tensor) -> None:
    """Set the decoder's bias to the geometric median of some rows ``x``, in model's units."""
    dictionary = model.part_as("decoder", Dictionary, "a start at the median")
    dictionary.bias.copy_(geometric_median(sample_of(x).flatten(1)))


@torch.no_grad()
def best_scale(rebuilt: Tensor, wanted: Tensor) -> float:
    """The number c with the least ``|c rebuilt - wanted|^2``, in closed form.

    Atoms that overlap overshoot: without it many active latents start far above the data.
    """
    squares = rebuilt.square().sum().clamp_min(torch.finfo(rebuilt.dtype).tiny)
    return float((rebuilt * wanted).sum() / squares)


@torch.no_grad()
def fit_scale(model: Autoencoder, x: Tensor, code: Code) -> None:
    """Multiply the encoder by the number with which ``code`` best rebuilds ``x``.

    ``code`` is that of the rows ``x`` ``(rows, *shape)``, in the model's units, and without biases
    in the encoder it grows with the encoder's weight.
    """
    encoder, dictionary = dictionary_of(model)
    rebuilt = dictionary.decode(code).flatten(1) - dictionary.bias
    scale = best_scale(rebuilt, x.flatten(1) - dictionary.bias)
    if scale > 0.0:
        encoder.weight.mul_(scale)


@runtime_checkable
class Control(Protocol):
    """What a bottleneck asks of a control of L0: see :class:`isthmus.objectives.L0Control`."""

    target: float

    def begin(self, coefficient: float, spread: float) -> None: ...


@dataclass(frozen=True)
class Start:
    """What a sample of the data says about an untrained dictionary.

    ``inner`` ``(rows, d)`` are the rows without the decoder's bias, ``u`` ``(rows, width)`` their
    pre-activations, ``cutoffs`` ``(width,)`` what the wanted number of latents exceeds on average.
    ``spread`` is the standard deviation of one latent's pre-activations, ``height`` the mean cutoff
    above their mean, both in the units of the pre-activations.
    """

    inner: Tensor
    u: Tensor
    cutoffs: Tensor
    spread: float
    height: float

    @torch.no_grad()
    def gain(self, z: Tensor, weight: Tensor) -> float:
        """The number by which to multiply codes ``z`` so that ``z weight`` rebuilds best."""
        return min(_MOST_GAIN, max(1.0 / _MOST_GAIN, best_scale(z @ weight, self.inner)))


@torch.no_grad()
def cutoffs_for(u: Tensor, l0: float) -> tuple[Tensor, float, float]:
    """Cutoffs ``(width,)`` that ``l0`` of the ``u`` ``(rows, width)`` of a row exceed on average.

    They lie the same number of standard deviations above each latent's mean. Also the standard
    deviation of one latent, and the mean height of the cutoffs above the means.
    """
    mean, std = u.mean(0), u.std(0, correction=0).clamp_min(torch.finfo(u.dtype).tiny)
    standard = ((u - mean) / std).flatten()
    place = min(len(standard), max(1, len(standard) - round(l0 * len(u))))
    deviations = float(standard.kthvalue(place).values)
    spread = float(std.square().mean().sqrt())
    return mean + deviations * std, spread, deviations * spread


@torch.no_grad()
def start_for(model: Autoencoder, x: Tensor, l0: float) -> Start:
    """Look at rows ``x`` ``(rows, *shape)``, in the model's units, for a start at ``l0`` latents.

    The decoder's bias is first set to their geometric median, from which the pre-activations are
    measured. A large model looks at some of the rows only.
    """
    start_at_median(model, x)
    encoder, dictionary = dictionary_of(model)
    some = sample_of(x, max(64, _ELEMENTS // len(encoder.bias)))
    u = encoder(some, model=model).dense()
    return Start(some.flatten(1) - dictionary.bias, u, *cutoffs_for(u, l0))
