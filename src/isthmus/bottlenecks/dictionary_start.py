"""Where a dictionary starts, from a sample of the data: its centre, its scale, its cutoffs."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Code,
    Each,
    LinearEncoder,
    Tree,
    branch,
    dictionaries,
    expect,
    tree,
)
from isthmus.anatomy.each import sole
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder

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


def reading_weights(model: Autoencoder) -> list[nn.Parameter]:
    """The weights ``(width, d read)`` of a linear encoder, or of each where there are several."""
    encoder = model.encoder
    parts = [part for _, part in encoder.items()] if isinstance(encoder, Each) else [encoder]
    for part in parts:
        expect(part, LinearEncoder, "encoder", "a sparse bottleneck")
    return [part.get_parameter("weight") for part in parts]


def sample_of(x: Tensor, most: int = _SAMPLE) -> Tensor:
    """At most ``most`` of the rows, evenly spread."""
    return x[:: -(-len(x) // most)]


def sampled(x: Tree) -> Tree:
    """As :func:`sample_of`, of every part of a tree."""
    return tree.mapped(sample_of, x)


def look_for(model: Autoencoder, x: Tree) -> Tree:
    """As many of the rows as bounds the memory of all pre-activations of a model."""
    most = max(64, _ELEMENTS // len(reading_weights(model)[0]))
    return tree.mapped(lambda leaf: sample_of(leaf, most), x)


@torch.no_grad()
def geometric_median(x: Tensor, *, iterations: int = 100, tolerance: float = 1e-5) -> Tensor:
    """The point of least summed distance to the rows of ``x`` ``(rows, d)``, ``(d,)``.

    Weiszfeld's iteration (1937) in float64, which Vardi and Zhang (2000) keep from getting stuck
    at a row. It ends when a step is below ``tolerance`` of the mean distance.
    """
    rows = x.double()
    median = rows.mean(0)
    for _ in range(iterations):
        distances = (rows - median).norm(dim=1)
        spread = distances.mean()
        apart = distances > 1e-12 * spread
        if not bool(apart.any()):
            break
        weights = torch.where(apart, 1.0 / distances, 0.0)
        step = (weights @ rows) / weights.sum() - median
        # Rows that lie on the median hold it back, each with a force of one.
        pull = step.norm() * weights.sum()
        held = (~apart).sum() / pull.clamp_min(1e-300)
        step = step * (1.0 - held).clamp_min(0.0)
        median = median + step
        if step.norm() <= tolerance * spread:
            break
    return median.to(x.dtype)


@torch.no_grad()
def start_at_median(model: Autoencoder, x: Tree) -> None:
    """Set the decoder's bias to the geometric median of some rows ``x``, in model's units.

    Of several dictionaries each to that of its own part.
    """
    for name, part in dictionaries(model).items():
        dictionary = expect(part, Dictionary, "decoder", "a start at the median")
        dictionary.bias.copy_(geometric_median(sample_of(branch(x, name)).flatten(1)))


@torch.no_grad()
def best_scale(rebuilt: Tensor, wanted: Tensor) -> float:
    """The number c with the least ``|c rebuilt - wanted|^2``, in closed form.

    Atoms that overlap overshoot: without it many active latents start far above the data.
    """
    squares = rebuilt.square().sum().clamp_min(torch.finfo(rebuilt.dtype).tiny)
    return float((rebuilt * wanted).sum() / squares)


@torch.no_grad()
def fit_scale(model: Autoencoder, x: Tree, code: Code) -> None:
    """Multiply the encoder by the number with which ``code`` best rebuilds ``x``.

    ``code`` is that of the rows ``x`` ``(rows, *shape)``, in the model's units, and without biases
    in the encoder it grows with the encoder's weight.
    """
    rebuilt, targets = [], []
    for name, dictionary in dictionaries(model).items():
        rebuilt.append(dictionary.decode(code).flatten(1) - dictionary.offset)
        targets.append(branch(x, name).flatten(1) - dictionary.offset)
    scale = best_scale(torch.cat(rebuilt, 1), torch.cat(targets, 1))
    if scale > 0.0:
        for weight in reading_weights(model):
            weight.mul_(scale)


@runtime_checkable
class Control(Protocol):
    """What a bottleneck asks of a control of L0: see :class:`isthmus.objectives.L0Control`."""

    target: float
    first: float

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
