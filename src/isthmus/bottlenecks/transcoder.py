"""Where dictionaries start that read one part of the data and write another."""

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Each, Look, Tree
from isthmus.bottlenecks.dictionary_start import (
    Start,
    best_scale,
    cutoffs_for,
    dictionary_of,
    sample_of,
)
from isthmus.bottlenecks.relu import ReLU
from isthmus.bottlenecks.topk import TopK
from isthmus.networks.dictionary import DictionaryEncoder

RIDGE = 1e-3
"""Penalty of the first linear prediction, as a share of the inputs' mean variance."""
_SAMPLE = 16_384
"""Rows that the linear prediction is fitted to."""
_ELEMENTS = 1 << 22
"""Pre-activations that are looked at: it bounds the memory."""


class TranscoderReLU(ReLU):
    """The rectifier, with the start of a transcoder."""

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as a linear prediction, and at the control's target if there is one."""
        start_paired(model, look.x)
        encoder, dictionary = dictionary_of(model)
        read, wanted = pair(model, look.x, max(64, _ELEMENTS // len(encoder.bias)))
        inner, u = wanted - dictionary.bias, encoder(read, model=model).dense()
        if self.control is None:
            _fit_scale(encoder, torch.relu(u) @ dictionary.weight, inner)
            return
        start = Start(inner, u, *cutoffs_for(u, self.control.target))
        self._begin(self.control, start, encoder, dictionary)


class TranscoderTopK(TopK):
    """The k largest pre-activations, with the start of a transcoder."""

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as a linear prediction, and fit the encoder's scale."""
        start_paired(model, look.x)
        encoder, dictionary = dictionary_of(model)
        read, wanted = pair(model, look.x)
        rebuilt = dictionary.decode(self(encoder(read, model=model))).flatten(1)
        _fit_scale(encoder, rebuilt - dictionary.bias, wanted - dictionary.bias)


def pair(model: Autoencoder, x: Tree, most: int | None = None) -> tuple[Tensor, Tensor]:
    """What is read and what is wanted of rows ``x`` in the model's units, ``(rows, elements)``.

    At most ``most`` rows, evenly spread; all that :func:`sample_of` takes by default.
    """
    encoder = model.encoder
    read = x[encoder.names[0]] if isinstance(encoder, Each) else x
    wanted = x if model.target is None else model.target(x)
    more = () if most is None else (most,)
    return sample_of(read, *more).flatten(1), sample_of(wanted, *more).flatten(1)


@torch.no_grad()
def start_paired(model: Autoencoder, x: Tree) -> None:
    """Start as a linear prediction of the target, from rows ``x`` in the model's units.

    The decoder's bias starts at the mean of the targets; its rows stay random. A latent starts by
    reading how far its atom goes along the best linear prediction ``B x`` of the target: the
    encoder is ``W_d B``, centred. Where the inputs are the targets that is the tied start of a
    sparse autoencoder.
    """
    encoder, dictionary = dictionary_of(model)
    read, targets = (part.double() for part in pair(model, x, _SAMPLE))
    centre, mean = read.mean(0), targets.mean(0)
    prediction = _regression(read - centre, targets - mean)
    weight = dictionary.weight.double() @ prediction
    encoder.weight.copy_(weight)
    encoder.bias.copy_(-(weight @ centre))
    dictionary.bias.copy_(mean)


def _regression(x: Tensor, y: Tensor) -> Tensor:
    """``B`` ``(y elements, x elements)`` of the ridge regression of centred ``y`` on ``x``."""
    gram = x.T @ x
    size = gram.diagonal().mean().clamp_min(torch.finfo(x.dtype).tiny)
    gram.diagonal().add_(RIDGE * size)
    found: Tensor = torch.linalg.solve(gram, x.T @ y).T
    return found


def _fit_scale(encoder: DictionaryEncoder, rebuilt: Tensor, inner: Tensor) -> None:
    """Multiply the encoder by the number with which the first reconstruction is best."""
    scale = best_scale(rebuilt, inner)
    if scale > 0.0:
        encoder.weight.mul_(scale)
        encoder.bias.mul_(scale)
