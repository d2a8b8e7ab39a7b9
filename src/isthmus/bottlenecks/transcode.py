"""Dictionaries that read one point and write another: target, encoder, and where they start."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Look
from isthmus.bottlenecks.relu import ReLU
from isthmus.bottlenecks.sparse import Dictionary, DictionaryEncoder
from isthmus.bottlenecks.start import Start, best_scale, cutoffs_for, dictionary_of, sample_of
from isthmus.bottlenecks.topk import TopK
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations

RIDGE = 1e-3
"""Penalty of the first linear prediction, as a share of the inputs' mean variance."""
_SAMPLE = 16_384
"""Rows that the linear prediction is fitted to."""
_ELEMENTS = 1 << 22
"""Pre-activations that are looked at: it bounds the memory."""


@dataclass(frozen=True)
class Rest:
    """The target of a transcoder: what comes after the first ``inputs`` elements of a row."""

    inputs: int

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, self.inputs :].contiguous()


class TranscoderEncoder(DictionaryEncoder):
    """``factor W x + b``, of the first ``inputs`` elements of a row; W is ``(width, inputs)``.

    ``factor`` brings the inputs to the size that the scaler gives the target. It is found in
    ``prepare`` and saved with the weights, into which it can be multiplied.
    """

    factor: Tensor

    def __init__(self, dictionary: Dictionary, inputs: int) -> None:
        super().__init__(dictionary, subtract_bias=False)
        self.inputs = inputs
        width = len(dictionary.weight)
        self.weight = nn.Parameter(F.normalize(torch.randn(width, inputs), dim=1))
        self.register_buffer("factor", torch.ones(()))

    def read(self, x: Tensor) -> Tensor:
        """What the weight is multiplied with, ``(rows, inputs)``."""
        return x.flatten(1)[:, : self.inputs] * self.factor

    def forward(self, x: Tensor, *, model: Autoencoder) -> Preactivations:
        return Preactivations(self.read(x), self.weight, self.bias, None)


class TranscoderReLU(ReLU):
    """The rectifier, with the start of a transcoder."""

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Scale, start as a linear prediction, and at the control's target if there is one."""
        rows = start_paired(model, look.tensor)
        encoder, dictionary = dictionary_of(model)
        some = sample_of(rows, max(64, _ELEMENTS // len(encoder.bias)))
        inner, u = wanted(model, some) - dictionary.bias, encoder(some, model=model).dense()
        if self.control is None:
            _fit_scale(encoder, torch.relu(u) @ dictionary.weight, inner)
            return
        start = Start(inner, u, *cutoffs_for(u, self.control.target))
        self._begin(self.control, start, encoder, dictionary)


class TranscoderTopK(TopK):
    """The k largest pre-activations, with the start of a transcoder."""

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Scale, start as a linear prediction, and fit the encoder's scale."""
        rows = start_paired(model, look.tensor)
        encoder, dictionary = dictionary_of(model)
        some = sample_of(rows)
        rebuilt = dictionary.decode(self(encoder(some, model=model))).flatten(1) - dictionary.bias
        _fit_scale(encoder, rebuilt, wanted(model, some) - dictionary.bias)


def wanted(model: Autoencoder, rows: Tensor) -> Tensor:
    """The targets of rows in the model's units, ``(rows, elements)``."""
    return (rows if model.target is None else model.target(rows)).flatten(1)


@torch.no_grad()
def start_paired(model: Autoencoder, x: Tensor) -> Tensor:
    """Scale both points and start as a linear prediction; returns the rows in the model's units.

    ``x`` ``(rows, *shape)`` is scaled by one factor for all, in which the larger point would drown
    the other. The scaler is left with the size of the target, the encoder's ``factor`` with what
    brings the inputs to the same size.

    The decoder's bias starts at the mean of the targets; its rows stay random. A latent starts by
    reading how far its atom goes along the best linear prediction ``B x`` of the target: the
    encoder is ``W_d B``, centred. Where the inputs are the targets that is the tied start of a
    sparse autoencoder.
    """
    encoder = model.part_as("encoder", TranscoderEncoder, "the start of a transcoder")
    dictionary = dictionary_of(model)[1]
    rows = _scaled(model, encoder, x)
    some = sample_of(rows, _SAMPLE)
    read, targets = encoder.read(some).double(), wanted(model, some).double()
    centre, mean = read.mean(0), targets.mean(0)
    prediction = _regression(read - centre, targets - mean)
    weight = dictionary.weight.double() @ prediction
    encoder.weight.copy_(weight)
    encoder.bias.copy_(-(weight @ centre))
    dictionary.bias.copy_(mean)
    return rows


def _scaled(model: Autoencoder, encoder: TranscoderEncoder, x: Tensor) -> Tensor:
    """Rows in units in which both points have the size that the scaler stands for."""
    encoder.factor.fill_(1.0)
    if model.target is None or model.scaler.mode == "none":
        return x
    if model.scaler.mode == "columns":
        raise IsthmusError(
            "scaling=columns has no units for a target that is a part of a row: set "
            "scaling=global, norm or none"
        )
    sizes = []
    for part, name in ((encoder.read(x), "inputs"), (wanted(model, x), "targets")):
        squares = part.double().square()
        size = float(squares.mean() if model.scaler.mode == "global" else squares.sum(1).mean())
        if not size > 0.0:
            raise IsthmusError(f"every value of the {name} is zero: there is nothing to learn")
        sizes.append(size**0.5)
    inputs, targets = sizes
    model.scaler.scale.mul_(targets)
    encoder.factor.fill_(targets / inputs)
    return x / targets


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
