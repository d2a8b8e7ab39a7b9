"""Bottlenecks of a cross-layer transcoder: one code of the latents of all layers, and its start."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    Code,
    Each,
    Look,
    Output,
    SparseCode,
    Step,
    ThresholdCode,
    Tree,
    View,
    expect,
    tree,
)
from isthmus.bottlenecks.batchtopk import BatchTopK, over, smallest_of, top_of_batch
from isthmus.bottlenecks.dictionary_start import EARLY, Control, best_scale, cutoffs_for, sample_of
from isthmus.bottlenecks.jumprelu import BANDWIDTH, JumpReLUBottleneck
from isthmus.bottlenecks.penalised import Penalised
from isthmus.bottlenecks.relu import ReLU
from isthmus.bottlenecks.topk import TopK
from isthmus.bottlenecks.transcoder import linear_prediction
from isthmus.kernels import Preactivations, Stacked
from isthmus.networks.dictionary import DictionaryEncoder
from isthmus.networks.layer_dictionary import CarriedLayerDictionary, LayerDictionary
from isthmus.networks.skip_dictionary import with_skip

_SAMPLE = 16_384
"""Rows that the linear predictions are fitted to."""
_ELEMENTS = 1 << 22
"""Pre-activations that are looked at: it bounds the memory."""


class LayersReLU(ReLU):
    """The rectifier, with the start of a cross-layer transcoder.

    ``scale`` is c of its price ``tanh(c z |W|)``.
    """

    def __init__(
        self, width: int, dead_after: int, *, scale: float, control: Control | None = None
    ) -> None:
        super().__init__(width, dead_after, control=control)
        self.scale = scale

    def forward(
        self, h: Preactivations, *, sample: bool = False, model: Autoencoder | None = None
    ) -> Code:
        return layers_skipped(model, super().forward(h, sample=sample), h)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as linear predictions, and at the control's target if there is one."""
        cutoffs, _ = start_penalised(self, model, look.x, self.scale)
        for (encoder, _), cutoff in zip(layers_of(model), cutoffs, strict=True):
            encoder.bias.sub_(cutoff)

    @torch.no_grad()
    def shift(self, model: Autoencoder, amount: Tensor) -> None:
        """Raise the cutoff of every latent by an amount: here by lowering the encoders' biases."""
        for encoder, _ in layers_of(model):
            encoder.bias.sub_(amount)


class LayersJumpReLU(JumpReLUBottleneck):
    """Learnt thresholds, with the start of a cross-layer transcoder.

    ``scale`` is c of its price ``tanh(c z |W|)``.
    """

    def __init__(
        self,
        width: int,
        dead_after: int,
        *,
        scale: float,
        threshold: float | None,
        bandwidth: float | None,
        control: Control | None = None,
    ) -> None:
        super().__init__(width, threshold, bandwidth, dead_after=dead_after, control=control)
        self.scale = scale

    def forward(
        self, h: Preactivations, *, sample: bool = False, model: Autoencoder | None = None
    ) -> Code:
        return layers_skipped(model, super().forward(h, sample=sample), h)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as linear predictions, and at the control's target if there is one."""
        cutoffs, spread = start_penalised(self, model, look.x, self.scale)
        own_threshold, own_bandwidth = self.asked
        if own_threshold:
            self.log_threshold.copy_(torch.cat(cutoffs).clamp_min(1e-3 * spread).log())
        if own_bandwidth:
            self.bandwidth.fill_(BANDWIDTH * spread)


class LayersTopK(TopK):
    """The k largest of each row: of every layer (``each``), or of all together.

    Latents are compared by their values times the lengths of their atoms, or, without ``weigh``, by
    their values.
    """

    def __init__(
        self,
        width: int,
        k: int,
        layers: int,
        dead_after: int,
        *,
        each: bool = True,
        weigh: bool = True,
    ) -> None:
        super().__init__(width, k if each else k * layers, dead_after, weigh=weigh)
        self.each = each

    def forward(
        self,
        h: Preactivations,
        *,
        sample: bool = False,
        step: Step | None = None,
        model: Autoencoder | None = None,
    ) -> SparseCode:
        code = layers_skipped(model, super().forward(h, sample=sample, step=step, model=model), h)
        assert isinstance(code, SparseCode)
        return code

    def _top(self, h: Preactivations, k: int, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self.each:
            return super()._top(h, k, lengths)
        values, indices = expect(h, Stacked, "input", self).top_of_each(k, priority=lengths)
        return torch.relu(values), indices

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as linear predictions, each encoder with the scale that is best."""
        start_layers(model, look.x, lambda h: self(h, model=model))


class LayersBatchTopK(BatchTopK):
    """The largest values of a batch: k a row of every layer (``each``), or of all together.

    With ``each`` the ``threshold`` is one for every layer, ``(layers,)``. Values are compared by
    their products with the lengths of their atoms, or, without ``weigh``, as they are.
    """

    def __init__(
        self,
        width: int,
        k: int,
        layers: int,
        dead_after: int,
        *,
        each: bool = False,
        weigh: bool = True,
    ) -> None:
        super().__init__(width, k if each else k * layers, dead_after, weigh=weigh)
        self.each, self.layers = each, layers
        if each:
            self.threshold = torch.zeros(layers, dtype=torch.float64)

    def forward(
        self, h: Preactivations, *, sample: bool = False, model: Autoencoder | None = None
    ) -> Code:
        lengths = self.lengths(model)
        if not (sample and self.training):
            threshold = self.threshold
            if self.each:
                threshold = threshold.repeat_interleave(self.width // self.layers)
            code = over(h, threshold, h if sample else None, lengths)
        else:
            code = self._top_of(h, lengths)
        return layers_skipped(model, code, h)

    def _top_of(self, h: Preactivations, lengths: Tensor | None) -> Code:
        if not self.each:
            return top_of_batch(h, self.k, lengths)
        h = expect(h, Stacked, "input", self)
        codes = []
        for number, part in enumerate(h.parts):
            part_lengths = None if lengths is None else lengths[h.slice(number)]
            codes.append(top_of_batch(part, self.k, part_lengths))
        return beside(codes, h)

    @torch.no_grad()
    def observe(self, out: Output, step: Step, *, model: Autoencoder | None = None) -> None:
        """Take the smallest values that a step's batch kept into the average."""
        if not self.each:
            super().observe(out, step, model=model)
            return
        lengths = self.lengths(model)
        code, layer_width = out.code_as(AnySparseCode, self), self.width // self.layers
        indices = (
            code.indices
            if isinstance(code, SparseCode)
            else torch.arange(self.width, device=code.entries.device).expand_as(code.entries)
        )
        values, layer = code.entries, indices // layer_width
        if lengths is not None:
            values = values * lengths[indices]
        parts = [
            torch.stack([smallest_of(torch.where(of == n, v, 0.0)) for n in range(self.layers)])
            for v, of in zip(values.chunk(step.parts), layer.chunk(step.parts), strict=True)
        ]
        self.take_in(torch.stack(parts).mean(0), step)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as linear predictions, each encoder with the scale that is best."""
        start_layers(model, look.x, lambda h: self._top_of(h, None))


def beside(codes: Sequence[Code], keep: Stacked) -> Code:
    """The codes of consecutive latents as one."""
    if all(isinstance(code, SparseCode) for code in codes):
        sparse = [code for code in codes if isinstance(code, SparseCode)]
        indices = [code.indices + start for code, start in zip(sparse, keep.starts, strict=False)]
        values = torch.cat([code.values for code in sparse], 1)
        return SparseCode(values, torch.cat(indices, 1), keep.width, keep)
    return ThresholdCode(torch.cat([code.z for code in codes], 1), keep)


def layers_skipped(model: Autoencoder | None, code: Code, h: Preactivations) -> Code:
    """The code as the model's decoders want it: with what they add that is no latent's size."""
    written = [] if model is None else [dictionary for _, dictionary in layers_of(model)]
    carrying = [one for one in written if isinstance(one, CarriedLayerDictionary)]
    if not carrying:
        return code
    read = [part.x for part in expect(h, Stacked, "input", "a cross-layer transcoder").parts]
    parts = [one.carried(code, read[: n + 1]) for n, one in enumerate(carrying)]
    return with_skip(code, torch.cat(parts, 1))


# --- where it starts -----------------------------------------------------------------------------


def layers_of(model: Autoencoder) -> list[tuple[DictionaryEncoder, LayerDictionary]]:
    """What reads and what writes of every layer, in their order."""
    who = "a cross-layer transcoder"
    read, written = (expect(part, Each, "part", who) for part in (model.encoder, model.decoder))
    return [
        (
            expect(encoder, DictionaryEncoder, "encoder", who),
            expect(dictionary, LayerDictionary, "decoder", who),
        )
        for (_, encoder), (_, dictionary) in zip(read.items(), written.items(), strict=True)
    ]


@torch.no_grad()
def start_layers(
    model: Autoencoder, x: Tree, choose: Callable[[Stacked], Code]
) -> tuple[list[float], Stacked]:
    """Start every layer as a transcoder of its own, with the scale that is best for a choice.

    Decoders' biases start at the mean of what is written; a latent reads how far its atom goes
    along the best linear prediction of that from its own layer's input, and writes to its own layer
    alone. The scales and, before these, the pre-activations of some rows are returned.
    """
    who = "a cross-layer transcoder"
    read, written = (
        expect(part, Each, "part", who).names for part in (model.encoder, model.decoder)
    )
    for (encoder, dictionary), into, out in zip(layers_of(model), read, written, strict=True):
        inputs, targets = (sample_of(x[n], _SAMPLE).flatten(1).double() for n in (into, out))
        centre, mean = inputs.mean(0), targets.mean(0)
        prediction = linear_prediction(inputs - centre, targets - mean)
        weight = dictionary.own_atoms.double() @ prediction
        encoder.weight.copy_(weight)
        encoder.bias.copy_(-(weight @ centre))
        dictionary.bias.copy_(mean)
    width = sum(len(encoder.bias) for encoder, _ in layers_of(model))
    some = tree.mapped(lambda leaf: sample_of(leaf, max(64, _ELEMENTS // width)), x)
    h = expect(model.encode_view(View(some)), Stacked, "encoder's output", "its start")
    z, gains = choose(h).z, []
    for number, (encoder, dictionary) in enumerate(layers_of(model)):
        target = some[written[number]].flatten(1) - dictionary.bias
        gain = best_scale(z[:, h.slice(number)] @ dictionary.own_atoms, target)
        gains.append(gain if gain > 0.0 else 1.0)
        encoder.weight.mul_(gains[-1])
        encoder.bias.mul_(gains[-1])
    return gains, h


@torch.no_grad()
def start_penalised(
    bottleneck: Penalised, model: Autoencoder, x: Tree, scale: float
) -> tuple[list[Tensor], float]:
    """As :func:`start_layers` for latents above a cutoff, at the control's target if there is one.

    The cutoffs of every layer's latents (zero without a control), and the standard deviation of the
    pre-activations.
    """
    control, lowered = bottleneck.control, isinstance(bottleneck, ReLU)
    cutoffs, spread, height = torch.zeros(()), 1.0, 0.0

    def choose(h: Stacked) -> Code:
        nonlocal cutoffs, spread, height
        u = h.dense()
        if control is not None:
            cutoffs, spread, height = cutoffs_for(u, control.first)
        over = u - cutoffs
        return ThresholdCode(torch.where(over > 0, over if lowered else u, 0.0).clamp_min(0.0))

    gains, h = start_layers(model, x, choose)
    whole = cutoffs.to(h.bias).expand(h.width)
    mean = sum(gains) / len(gains)
    spread = mean * (spread if control is not None else float(h.dense().std()))
    if control is not None:
        # A latent of size t rebuilds about t^2 and costs tanh(c t), its atoms being of norm 1.
        size = max(mean * abs(height), 1e-3 * spread)
        control.begin(EARLY * size**2 / math.tanh(scale * size), spread)
    return [gain * whole[h.slice(number)] for number, gain in enumerate(gains)], spread
