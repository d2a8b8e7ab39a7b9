"""A dictionary of several places, as its headers tell it: crosscoders, cross-layer transcoders."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Signal
from isthmus.anatomy.each import EachScaler, key_of
from isthmus.errors import IsthmusError
from isthmus.formats.assembly import filled
from isthmus.formats.found import Made, Weight
from isthmus.formats.record import Record

CROSS_LAYER, CROSSCODER = "cross-layer-transcoder", "crosscoder"
"""The recipes of the two."""
EXAMPLES = 8
"""Rows that a model is saved with, to be compared when it is loaded."""
Atoms = Iterator[tuple[int, int, int, Tensor]]
"""The layer that is read, the one that is written, the first latent, and atoms ``(n, d)``."""


@dataclass
class Several(Made):
    """What a reader found of a dictionary of several places; its weights are not read yet.

    widths
        Elements of each part of the data, by name, in order.
    options
        Those of ``recipe``, without its scaling.
    weights
        Reads the parameters, by their names in the model.
    scales
        What each part is divided by, after an offset (or None) was taken off: without them the
        model reads the activations as they are.
    """

    record: Record
    recipe: str
    widths: dict[str, int]
    options: dict[str, Any]
    weights: Callable[[], dict[str, Tensor]]
    parameters: int
    scales: Mapping[str, tuple[Tensor | None, float]] = field(default_factory=dict)

    @torch.no_grad()
    def model(self) -> Autoencoder:
        """The model, in little more memory than it takes itself."""
        parts = {name: Signal("vector", (width,)) for name, width in self.widths.items()}
        centred = any(offset is not None for offset, _ in self.scales.values())
        mode = "centred" if centred else "global" if self.scales else "none"
        options = {**self.options, "scaling": mode}
        signal = Signal("collection", parts=parts)
        model = filled(self.record, self.recipe, signal, options, self.weights())
        generator = torch.Generator().manual_seed(0)
        rows = {n: torch.randn(EXAMPLES, w, generator=generator) for n, w in self.widths.items()}
        if self.scales:
            scaler = model.part_as("scaler", EachScaler, "a dictionary of several places")
            for name, (offset, scale) in self.scales.items():
                scaler[name].scale.fill_(scale)
                if offset is not None:
                    scaler[name].offset.copy_(offset)
                rows[name] = scaler[name].inverse(rows[name])
        model.reference_rows = Batch(rows)
        return model


def layer_parts(layers: int) -> list[str]:
    """``0:in``, ``0:out``, ``1:in``, ...: the parts of a cross-layer transcoder."""
    return [f"{i}:{side}" for i in range(layers) for side in ("in", "out")]


def layer_weights(
    layers: Sequence[Mapping[str, Weight]], width: int, atoms: Atoms, where: str
) -> dict[str, Tensor]:
    """The parameters of a cross-layer transcoder, filled atom by atom.

    ``layers`` has ``W_enc`` ``(F, d)``, ``b_enc``, ``b_dec`` and, of JumpReLU, ``threshold`` of
    each layer, and ``W_skip`` ``(d written, d read)`` where something skips; what is written has
    ``width`` elements.
    """
    state: dict[str, Tensor] = {}
    thresholds: list[Tensor] = []
    latents = layers[0]["W_enc"].shape[0]
    for i, layer in enumerate(layers):
        state[f"encoder.each.{i}:in.weight"] = layer["W_enc"].read()
        state[f"encoder.each.{i}:in.bias"] = layer["b_enc"].read()
        state[f"decoder.each.{i}:out.bias"] = layer["b_dec"].read()
        state[f"decoder.each.{i}:out.weight"] = torch.empty(latents * (i + 1), width)
        if "W_skip" in layer:
            state[f"decoder.each.{i}:out.skip_weight"] = layer["W_skip"].read()
        if "threshold" in layer:
            thresholds.append(layer["threshold"].read(torch.float64))
    for source, target, first, block in atoms:
        start = latents * source + first
        state[f"decoder.each.{target}:out.weight"][start : start + len(block)] = block
    if thresholds:
        whole = torch.cat(thresholds)
        if not bool((whole >= 0).all()):
            raise IsthmusError(f"{where} has thresholds below zero or NaN: fetch it again")
        state["bottleneck.log_threshold"] = whole.log().float()
    return state


def crosscoder_weights(
    parts: Mapping[str, Mapping[str, Weight]], bias: Callable[[], Tensor]
) -> dict[str, Tensor]:
    """The parameters of a crosscoder; ``parts`` has ``W_enc``, ``W_dec`` ``(F, d)`` and ``b_dec``.

    ``bias`` ``(F,)`` is what is added to the sum of what all parts read.
    """
    state: dict[str, Tensor] = {"encoder.merge.bias": bias()}
    for name, weights in parts.items():
        key = key_of(name)
        state[f"encoder.each.{key}.weight"] = weights["W_enc"].read()
        state[f"decoder.each.{key}.weight"] = weights["W_dec"].read()
        state[f"decoder.each.{key}.bias"] = weights["b_dec"].read()
    return state
