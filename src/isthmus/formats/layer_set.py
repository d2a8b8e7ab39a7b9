"""Cross-layer transcoders as circuit-tracer reads them, of which each latent writes to many layers.

``W_enc_i.safetensors`` has ``W_enc_i`` ``(F, d)``, ``b_enc_i``, ``b_dec_i`` and, of JumpReLU,
``threshold_i``; ``W_dec_i.safetensors`` has ``W_dec_i`` ``(F, L - i, d)``: what the latents of
layer i write to that layer and to each behind it.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Signal
from isthmus.anatomy.rule import Activation
from isthmus.errors import IsthmusError
from isthmus.formats.assembly import filled
from isthmus.formats.found import needed, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record

NAME = "cross-layer-transcoder"
EXAMPLES = 8
_ENCODER = re.compile(r"^W_enc_(\d+)\.safetensors$")


def recognises(place: Location) -> bool:
    """Whether there is a file of encoders for each layer."""
    return place.only is None and any(_ENCODER.match(name) for name in place.names)


@dataclass
class LayerSet:
    """A cross-layer transcoder as its headers tell it: ``latents`` of each layer, not read yet."""

    place: Location
    record: Record
    latents: int
    layers: int

    @property
    def parameters(self) -> int:
        """How many numbers the files hold."""
        files = [self.place.opened(f"W_{side}_{i}.safetensors") for i in range(self.layers)
                 for side in ("enc", "dec")]  # fmt: skip
        return sum(math.prod(entry.shape) for file in files for entry in file.entries.values())

    @torch.no_grad()
    def model(self) -> Autoencoder:
        """The model of all layers; its parts are ``"0:in"``, ``"0:out"``, ``"1:in"`` and so on.

        One layer's decoders are in memory beside the model at a time.
        """
        place, record, f = self.place, self.record, self.latents
        state: dict[str, Tensor] = {}
        thresholds: list[Tensor] = []
        for i in range(self.layers):
            encoder = place.opened(f"W_enc_{i}.safetensors")
            state[f"encoder.each.{i}:in.weight"] = encoder.read(f"W_enc_{i}")
            state[f"encoder.each.{i}:in.bias"] = encoder.read(f"b_enc_{i}")
            state[f"decoder.each.{i}:out.bias"] = encoder.read(f"b_dec_{i}")
            state[f"decoder.each.{i}:out.weight"] = torch.empty(f * (i + 1), record.d_out)
            if record.activation == "jumprelu":
                thresholds.append(encoder.read(f"threshold_{i}", torch.float64))
        for i in range(self.layers):
            decoder = place.opened(f"W_dec_{i}.safetensors").read(f"W_dec_{i}")
            for out in range(i, self.layers):
                weight = state[f"decoder.each.{out}:out.weight"]
                weight[f * i : f * (i + 1)] = decoder[:, out - i]
        if thresholds:
            whole = torch.cat(thresholds)
            if not bool((whole >= 0).all()):
                raise IsthmusError(f"{place} has thresholds below zero or NaN: fetch it again")
            state["bottleneck.log_threshold"] = whole.log().float()
        one = Signal("vector", (record.d_in,))
        names = [f"{i}:{side}" for i in range(self.layers) for side in ("in", "out")]
        signal = Signal("collection", parts=dict.fromkeys(names, one))
        options = {"latent_dim": f, "activation": record.activation, "scaling": "none"}
        model = filled(record, NAME, signal, options, state)
        generator = torch.Generator().manual_seed(0)
        rows = {name: torch.randn(EXAMPLES, record.d_in, generator=generator) for name in names}
        model.reference_rows = Batch(rows)
        return model


def read(place: Location, ignore: Sequence[str] = ()) -> LayerSet:
    """What the headers of all files say, held against each other."""
    layers = _layers(place)
    if layers < 2:
        raise IsthmusError(f"{place} has one layer alone, and a set has more: fetch it again")
    entries = place.opened("W_enc_0.safetensors").entries
    rule: Activation = "jumprelu" if "threshold_0" in entries else "relu"
    if "W_enc_0" not in entries or len(entries["W_enc_0"].shape) != 2:
        raise IsthmusError(f"{place} lacks a matrix W_enc_0: fetch it again, nothing is filled in")
    latents, d = entries["W_enc_0"].shape
    for i in range(layers):
        encoder = place.opened(f"W_enc_{i}.safetensors")
        decoder = place.opened(f"W_dec_{i}.safetensors")
        encoder_shapes = {f"W_enc_{i}": (latents, d), f"b_enc_{i}": (latents,), f"b_dec_{i}": (d,)}
        if rule == "jumprelu":
            encoder_shapes[f"threshold_{i}"] = (latents,)
        only(place, encoder_shapes, encoder.entries, "tensors", ignore)
        only(place, [f"W_dec_{i}"], decoder.entries, "tensors", ignore)
        needed(place, encoder, encoder_shapes)
        needed(place, decoder, [f"W_dec_{i}"])
        shapes = {name: encoder.entries[name].shape for name in encoder_shapes}
        shapes[f"W_dec_{i}"] = decoder.entries[f"W_dec_{i}"].shape
        for name, shape in {**encoder_shapes, f"W_dec_{i}": (latents, layers - i, d)}.items():
            if shapes[name] != shape:
                raise IsthmusError(
                    f"{place} has {name} of shape {shapes[name]} where {shape} is wanted, for "
                    f"{latents} latents of {layers} layers: decoders go by the layer that is read"
                )
    record = Record(
        format="circuit-tracer-layers", activation=rule, d_in=d, d_sae=latents * layers, d_out=d,
        threshold="per latent" if rule == "jumprelu" else None, transcoder=True,
        dtype=entries["W_enc_0"].dtype, metadata={"layers": layers},
    )  # fmt: skip
    return LayerSet(place, record, latents, layers)


def _layers(place: Location) -> int:
    numbers = {int(m[1]) for name in place.names if (m := _ENCODER.match(name))}
    if numbers != set(range(len(numbers))):
        raise IsthmusError(
            f"{place} has encoders of layers {', '.join(map(str, sorted(numbers)))} alone, and a "
            "cross-layer transcoder has those of all: fetch the others"
        )
    lacking = [i for i in sorted(numbers) if f"W_dec_{i}.safetensors" not in place.names]
    if lacking:
        raise IsthmusError(
            f"{place} lacks W_dec_{lacking[0]}.safetensors: fetch it again, nothing is filled in"
        )
    return len(numbers)
