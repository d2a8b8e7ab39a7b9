"""Where dictionaries start that read one part of the data and write another."""

from collections.abc import Callable

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Each, Look, SparseCode, Step, Tree
from isthmus.bottlenecks.batchtopk import BatchTopK, top_of_batch
from isthmus.bottlenecks.dictionary_start import (
    Start,
    best_scale,
    cutoffs_for,
    dictionary_of,
    sample_of,
)
from isthmus.bottlenecks.jumprelu import JumpReLUBottleneck
from isthmus.bottlenecks.penalised import Penalised
from isthmus.bottlenecks.relu import ReLU
from isthmus.bottlenecks.topk import TopK
from isthmus.kernels import Preactivations
from isthmus.networks.dictionary import DictionaryEncoder
from isthmus.networks.skip_dictionary import skip_carried

RIDGE = 1e-3
"""Penalty of the first linear prediction, as a share of the inputs' mean variance."""
_SAMPLE = 16_384
"""Rows that the linear prediction is fitted to."""
_ELEMENTS = 1 << 22
"""Pre-activations that are looked at: it bounds the memory."""


class TranscoderReLU(ReLU):
    """The rectifier, with the start of a transcoder."""

    def forward(
        self, h: Preactivations, *, sample: bool = False, model: Autoencoder | None = None
    ) -> Code:
        return skip_carried(model, super().forward(h, sample=sample), h.x)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as a linear prediction, and at the control's target if there is one."""
        start_penalised(self, model, look.x)


class TranscoderJumpReLU(JumpReLUBottleneck):
    """Learnt thresholds, with the start of a transcoder."""

    def forward(
        self, h: Preactivations, *, sample: bool = False, model: Autoencoder | None = None
    ) -> Code:
        return skip_carried(model, super().forward(h, sample=sample), h.x)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as a linear prediction, and at the control's target if there is one."""
        start_penalised(self, model, look.x)


class TranscoderTopK(TopK):
    """The k largest pre-activations, with the start of a transcoder."""

    def forward(
        self,
        h: Preactivations,
        *,
        sample: bool = False,
        step: Step | None = None,
        model: Autoencoder | None = None,
    ) -> SparseCode:
        code = skip_carried(model, super().forward(h, sample=sample, step=step, model=model), h.x)
        assert isinstance(code, SparseCode)
        return code

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as a linear prediction, and fit the encoder's scale."""
        start_chosen(model, look.x, lambda h: self(h, model=model))


class TranscoderBatchTopK(BatchTopK):
    """The largest pre-activations of a batch, with the start of a transcoder."""

    def forward(
        self, h: Preactivations, *, sample: bool = False, model: Autoencoder | None = None
    ) -> Code:
        return skip_carried(model, super().forward(h, sample=sample, model=model), h.x)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as a linear prediction, and fit the encoder's scale."""
        lengths = self.lengths(model)
        start_chosen(model, look.x, lambda h: top_of_batch(h, self.k, lengths))


@torch.no_grad()
def start_penalised(bottleneck: Penalised, model: Autoencoder, x: Tree) -> None:
    """Start as a linear prediction; with a control at its target, else with the best scale."""
    start_paired(model, x)
    encoder, dictionary = dictionary_of(model)
    read, targets = pair(model, x, max(64, _ELEMENTS // len(encoder.bias)))
    inner, h = targets - dictionary.bias, encoder(read, model=model)
    u = h.dense()
    if bottleneck.control is None:
        _fit_scale(encoder, bottleneck(h).z @ dictionary.weight, inner)
        return
    start = Start(inner, u, *cutoffs_for(u, bottleneck.control.first))
    bottleneck.begin(start, encoder, dictionary)


@torch.no_grad()
def start_chosen(model: Autoencoder, x: Tree, choose: Callable[[Preactivations], Code]) -> None:
    """Start as a linear prediction, and with the scale that is best for the latents chosen."""
    start_paired(model, x)
    encoder, dictionary = dictionary_of(model)
    read, targets = pair(model, x)
    rebuilt = dictionary.decode(choose(encoder(read, model=model))).flatten(1)
    _fit_scale(encoder, rebuilt - dictionary.bias, targets - dictionary.bias)


def pair(model: Autoencoder, x: Tree, most: int | None = None) -> tuple[Tensor, Tensor]:
    """What is read and what is wanted of rows ``x`` in the model's units, ``(rows, elements)``.

    At most ``most`` rows, evenly spread; all that :func:`sample_of` takes by default.
    """
    encoder = model.encoder
    read = x[encoder.names[0]] if isinstance(encoder, Each) else x
    targets = x if model.target is None else model.target(x)
    more = () if most is None else (most,)
    return sample_of(read, *more).flatten(1), sample_of(targets, *more).flatten(1)


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
    prediction = linear_prediction(read - centre, targets - mean)
    weight = dictionary.weight.double() @ prediction
    encoder.weight.copy_(weight)
    encoder.bias.copy_(-(weight @ centre))
    dictionary.bias.copy_(mean)


def linear_prediction(x: Tensor, y: Tensor) -> Tensor:
    """``B`` ``(y elements, x elements)`` of the ridge regression of centred ``y`` on ``x``."""
    gram = x.T @ x
    size = gram.diagonal().mean().clamp_min(torch.finfo(x.dtype).tiny)
    gram.diagonal().add_(RIDGE * size)
    solution: Tensor = torch.linalg.solve(gram, x.T @ y).T
    return solution


def _fit_scale(encoder: DictionaryEncoder, rebuilt: Tensor, inner: Tensor) -> None:
    """Multiply the encoder by the number with which the first reconstruction is best."""
    scale = best_scale(rebuilt, inner)
    if scale > 0.0:
        encoder.weight.mul_(scale)
        encoder.bias.mul_(scale)
