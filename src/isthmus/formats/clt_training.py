"""EleutherAI's cross-layer transcoders (clt-training): a folder of sparsify's files for each layer.

The coder of layer m has ``W_decs.i`` ``(F, d)``, ``b_decs.i`` ``(d,)``, ``post_encs.i`` ``(F,)``,
``post_enc_scales.i`` and ``W_skips.i`` ``(d, d)`` for what it writes to layer m + i. With z its k
largest pre-activations, rectified, that is ``((z + post_enc [z > 0]) scale) W_dec + b_dec + x
W_skip^T``; layer t is the sum of what all layers so far write to it. ``coalesce_topk=concat``
has the decoder, bias and skip of layer t alone, for the latents of all.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.formats.found import Given, Stored, Weight, count, needed, only, setting
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.several import CROSS_LAYER, Atoms, Several, layer_parts, layer_weights
from isthmus.formats.sparsify import CONFIG, KNOWN, TRAINING, WEIGHTS
from isthmus.formats.tensor_file import TensorFile

_REFUSED = {"coalesce_topk": ("none", "concat"), "topk_coalesced": (False,),
            "secondary_target_tied": (False,), "activation": ("topk",)}  # fmt: skip
"""Settings of which other values have no formula here."""
_SETTINGS = {*KNOWN, *TRAINING, *_REFUSED, "n_targets", "n_sources", "normalize_io",
             "post_encoder_scale", "divide_cross_layer", "per_source_tied"}  # fmt: skip
_ALIASES = {"W_dec", "b_dec", "W_skip"}
"""Names that the first of a list has as well."""


@dataclass(frozen=True)
class _Layer:
    """The coder of a layer: what it says, and its file."""

    name: str
    cfg: Mapping[str, Any]
    file: TensorFile
    targets: int

    @property
    def together(self) -> bool:
        """Whether what is written is decoded by the layer that it is written to."""
        return self.cfg.get("coalesce_topk", "none") == "concat"

    def atoms_for(self, i: int) -> str:
        """The name of the atoms that write to the i-th layer from here."""
        return "W_dec" if self.cfg.get("per_source_tied") or self.together else f"W_decs.{i}"

    def bias_for(self, i: int) -> str:
        """The name of the bias, likewise."""
        return "b_dec" if self.together else f"b_decs.{i}"

    def skip_for(self, i: int) -> str:
        """The name of the skip, likewise."""
        return "W_skip" if self.together else f"W_skips.{i}"


def recognises(place: Location) -> bool:
    """Whether folders hold coders, one of which writes to several layers."""
    if place.only is not None or CONFIG in place.names:
        return False
    named = [name for name in place.folders if (place.folder / name / CONFIG).is_file()]
    return any(place.settings(f"{name}/{CONFIG}").get("n_targets", 0) > 0 for name in named)


def read(place: Location, ignore: Sequence[str] = ()) -> Several:
    """What the headers of all layers say, held against each other; no weight is read yet."""
    layers = _layers(place, ignore)
    first = layers[0]
    latents, d = first.file.entries["encoder.weight"].shape
    skip = bool(first.cfg.get("skip_connection"))
    k = count(place, first.cfg, "k")
    for layer in layers:
        _check(place, layer, latents, d, ignore)
        same = (bool(layer.cfg.get("skip_connection")), layer.cfg.get("k"), layer.together)
        if same != (skip, k, first.together):
            raise IsthmusError(
                f"{place} has other settings (k, skip_connection, coalesce_topk) in {layer.name} "
                f"than in {first.name}, and a cross-layer transcoder here the same in all layers: "
                "use clt-training for this one"
            )
    weights: list[dict[str, Weight]] = [
        {
            "W_enc": Stored(layer.file, "encoder.weight"),
            "b_enc": Stored(layer.file, "encoder.bias"),
            "b_dec": Given(torch.zeros(d)),  # the sum of several, which are read with the weights
        }
        for layer in layers
    ]
    record = Record(
        format="clt-training", activation="topk", k=k, d_in=d, d_sae=latents * len(layers),
        d_out=d, transcoder=True, skip=skip, dtype=first.file.entries["encoder.weight"].dtype,
        metadata={**first.cfg, "layers": [layer.name for layer in layers]},
    )  # fmt: skip
    stored = [entry.shape for layer in layers for entry in layer.file.entries.values()]

    def filled() -> dict[str, Tensor]:
        state = layer_weights(weights, d, _atoms(layers), str(place))
        for t in range(len(layers)):
            state.update(_added(layers, t, latents, d, skip))
        return state

    return Several(
        record,
        CROSS_LAYER,
        dict.fromkeys(layer_parts(len(layers)), d),
        {"latent_dim": latents, "k": k, "select": "row", "weigh": False, "onset": True,
         "skip": skip},
        filled,
        sum(math.prod(shape) for shape in stored),
        _scales(layers, d),
    )  # fmt: skip


def _layers(place: Location, ignore: Sequence[str]) -> list[_Layer]:
    """The coders in the order of the numbers in their names."""
    names = [name for name in place.folders if (place.folder / name / CONFIG).is_file()]
    names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    coders = []
    for name in names:
        cfg = place.settings(f"{name}/{CONFIG}")
        only(place, _SETTINGS, cfg, f"settings in {name}", ignore)
        for option, known in _REFUSED.items():
            if cfg.get(option, known[0]) not in known:
                raise IsthmusError(
                    f"{place} says {option}={cfg[option]!r} in {name}, for which a cross-layer "
                    "transcoder here has no formula: use clt-training for this one"
                )
        if not cfg.get("transcode"):
            raise IsthmusError(
                f"{place} has no transcoder in {name} (transcode), and in others some that write "
                "to several layers: fetch them again"
            )
        targets = setting(place, cfg, "n_targets", int)
        coders.append(_Layer(name, cfg, place.opened(f"{name}/{WEIGHTS}"), targets))
    if len(coders) < 2:
        raise IsthmusError(f"{place} has one layer alone, and a set has more: fetch it again")
    for number, layer in enumerate(coders):
        if not 1 <= layer.targets <= len(coders) - number:
            raise IsthmusError(
                f"{place} says that {layer.name} writes to {layer.targets} layers, and has "
                f"{len(coders) - number} from there on: fetch the others"
            )
    return coders


def _check(place: Location, layer: _Layer, latents: int, d: int, ignore: Sequence[str]) -> None:
    """An error where a layer's tensors are not those that its settings tell of."""
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (latents, d),
        "encoder.bias": (latents,),
    }
    for i in range(layer.targets):
        shapes[layer.atoms_for(i)] = (latents, d)
        shapes[layer.bias_for(i)] = (d,)
        shapes[f"post_encs.{i}"] = (latents,)
        if layer.cfg.get("post_encoder_scale"):
            shapes[f"post_enc_scales.{i}"] = (latents,)
        if layer.cfg.get("skip_connection"):
            shapes[layer.skip_for(i)] = (d, d)
    if layer.cfg.get("normalize_io"):
        shapes.update(in_norm=(1,), out_norm=(1,))
    only(place, {*shapes, *_ALIASES}, layer.file.entries, f"tensors in {layer.name}", ignore)
    needed(place, layer.file, shapes)
    for name, shape in shapes.items():
        if layer.file.entries[name].shape != shape:
            raise IsthmusError(
                f"{place} has {name} of shape {layer.file.entries[name].shape} in {layer.name} "
                f"where {shape} is wanted: fetch it again"
            )


def _sources(layers: Sequence[_Layer], t: int) -> list[int]:
    """The layers that write to layer t, itself last."""
    return [m for m in range(t + 1) if t - m < layers[m].targets]


def _share(layers: Sequence[_Layer], m: int, t: int) -> float:
    """What the sum of other layers is divided by, inverted."""
    if m == t or layers[t].together or not layers[t].cfg.get("divide_cross_layer"):
        return 1.0
    return 1.0 / max(1, len(_sources(layers, t)) - 1)


def _scale(layer: _Layer, i: int) -> Tensor:
    """What latents are multiplied by for the i-th layer from here."""
    name = f"post_enc_scales.{i}"
    return layer.file.read(name) if name in layer.file else torch.ones(1)


def _atoms(layers: Sequence[_Layer]) -> Atoms:
    for t in range(len(layers)):
        sources = _sources(layers, t)
        for m in range(t + 1):
            if m not in sources:
                shape = layers[m].file.entries["encoder.weight"].shape
                yield m, t, 0, torch.zeros(1, 1).expand(shape)
                continue
            owner = layers[t] if layers[t].together else layers[m]
            scale, first = _scale(layers[m], t - m) * _share(layers, m, t), 0
            for block in owner.file.blocks(owner.atoms_for(t - m)):
                part = scale if len(scale) == 1 else scale[first : first + len(block)]
                yield m, t, first, block.float() * part[:, None]
                first += len(block)


def _added(layers: Sequence[_Layer], t: int, latents: int, d: int, skip: bool) -> dict[str, Tensor]:
    """What layer t has besides atoms: its bias, what latents that are on add, and its skip."""
    bias, onset = torch.zeros(d), torch.zeros(latents * (t + 1))
    matrix = torch.zeros(d, d * (t + 1))
    for m in _sources(layers, t):
        layer, i, share = layers[m], t - m, _share(layers, m, t)
        onset[latents * m : latents * (m + 1)] = layer.file.read(f"post_encs.{i}")
        if layers[t].together and m != t:
            continue
        bias += share * layer.file.read(layer.bias_for(i))
        if skip:
            matrix[:, d * m : d * (m + 1)] = share * layer.file.read(layer.skip_for(i))
    name = f"decoder.each.{t}:out"
    added = {f"{name}.bias": bias, f"{name}.onset": onset}
    if skip:
        added[f"{name}.skip_weight"] = matrix
    return added


def _scales(layers: Sequence[_Layer], d: int) -> dict[str, tuple[Tensor | None, float]]:
    """What inputs and outputs are divided by: their mean norms over sqrt(d)."""
    scales: dict[str, tuple[Tensor | None, float]] = {}
    for number, layer in enumerate(layers):
        for side in ("in", "out"):
            scale = 1.0
            if layer.cfg.get("normalize_io"):
                scale = float(layer.file.read(f"{side}_norm")[0]) / math.sqrt(d)
            scales[f"{number}:{side}"] = (None, scale)
    return scales if any(layer.cfg.get("normalize_io") for layer in layers) else {}
