"""Transcoders of all layers of a model: read from a folder, and written for circuit-tracer."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, norms
from isthmus.bottlenecks.cross_layer import LayersBatchTopK, LayersJumpReLU, LayersReLU
from isthmus.errors import IsthmusError
from isthmus.formats.loading import opened
from isthmus.formats.location import Location, locate
from isthmus.formats.whole_folder import whole_folder
from isthmus.formats.writers import taken_apart
from isthmus.interpretation.replacement import Replacement, is_cross_layer

_NUMBER = re.compile(r"(?:layers?[._]?|blocks\.|[hL][._]?)(\d+)")
CONFIG = "config.yaml"


def read_layers(where: str | Path, **options: Any) -> dict[int, Autoencoder]:
    """The dictionaries or transcoders of several layers, by layer.

    ``where`` is a folder, or ``hf:owner/repository/path@revision``, that has one file
    (``layer_0.safetensors``, ...: circuit-tracer, mwhanna) or one folder a layer
    (``layers.0.mlp``, ...: sparsify and others), whose names tell the layer. What is read can be
    traced as it is (:func:`isthmus.interpretation.attribution`). ``options`` are those of
    :func:`isthmus.from_pretrained`, for each. An :class:`IsthmusError` where no name tells a layer,
    or two tell the same. (A cross-layer transcoder is one model: ``isthmus.from_pretrained``.)
    """
    place = locate(where)
    at_layer: dict[int, Location] = {}
    files = [name for name in place.tensors if _NUMBER.search(name)]
    for name in files or place.folders:
        match = _NUMBER.search(name)
        if match is None:
            continue
        layer = int(match[1])
        if layer in at_layer:
            raise IsthmusError(
                f"{place} has two of layer {layer} ({at_layer[layer].name}, {name}): name a folder "
                "that has one of each"
            )
        at_layer[layer] = _inside(place, name, is_file=bool(files))
    if not at_layer:
        raise IsthmusError(
            f"{place} has no file and no folder whose name tells a layer, such as "
            "layer_0.safetensors: name the folder above them"
        )
    return {layer: opened(at_layer[layer], **options) for layer in sorted(at_layer)}


def _inside(place: Location, name: str, *, is_file: bool) -> Location:
    """A file or a folder of a place."""
    title = f"{place}/{name}"
    if is_file:
        return Location(place.folder, name, title, place.repo, place.revision)
    return Location(place.folder / name, None, title, place.repo, place.revision)


@torch.no_grad()
def write_layers(
    layers: Mapping[int, Autoencoder] | Autoencoder,
    folder: str | Path,
    *,
    model_name: str,
    input_hook: str,
    output_hook: str = "hook_mlp_out",
) -> None:
    """Write transcoders of all layers, or one cross-layer transcoder, as circuit-tracer reads them.

    layers
        Transcoders by layer, of all layers from 0 on, all of one width; or a model of the recipe
        ``cross-layer-transcoder``.
    model_name
        Of the language model, as TransformerLens calls it (``google/gemma-2-2b``).
    input_hook, output_hook
        What is read and written of each layer, in the names of TransformerLens without
        ``blocks.0.``: ``hook_resid_mid``, ``ln2.hook_normalized`` or ``mlp.hook_in``, and
        ``hook_mlp_out``.

    What is written reads the user's units, in float32. One threshold for all becomes one a latent.
    An :class:`IsthmusError` where circuit-tracer has no such rule (TopK), where a layer lacks, and
    where a folder has files.
    """
    if isinstance(layers, Autoencoder):
        kind, files = "cross_layer_transcoder", _across(layers)
    else:
        kind, files = "transcoder_set", _each(layers)
    from safetensors.torch import save_file

    lines = {
        "model_kind": kind,
        "model_name": model_name,
        "feature_input_hook": input_hook,
        "feature_output_hook": output_hook,
    }
    with whole_folder(folder) as path:
        for name, tensors in files.items():
            save_file({n: t.contiguous().float().cpu() for n, t in tensors.items()}, path / name)
        (path / CONFIG).write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))


def _each(layers: Mapping[int, Autoencoder]) -> dict[str, dict[str, Tensor]]:
    if {*layers} != {*range(len(layers))} or not layers:
        raise IsthmusError(
            f"these are transcoders of layers {', '.join(map(str, sorted(layers)))}, and "
            "circuit-tracer wants those of all layers from 0 on"
        )
    files = {}
    sizes, skips = set(), set()
    for layer in sorted(layers):
        record, tensors = taken_apart(layers[layer])
        if not record.transcoder or record.d_in != record.d_out:
            raise IsthmusError(
                f"that of layer {layer} reads {record.d_in} and writes {record.d_out} elements of "
                f"{'two places' if record.transcoder else 'one place'}, and circuit-tracer wants a "
                "transcoder from what goes into a module to as many elements that come out of it"
            )
        if record.activation not in ("relu", "jumprelu", "batchtopk") or record.weigh:
            raise _ruleless(record.activation)
        content = {name: tensors[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec")}
        if "threshold" in tensors:
            content["activation_function.threshold"] = tensors["threshold"]
        if record.skip:
            content["W_skip"] = tensors["W_skip"]
        sizes.add(record.d_sae)
        skips.add(record.skip)
        files[f"layer_{layer}.safetensors"] = content
    if len(sizes) > 1 or len(skips) > 1:
        raise IsthmusError(
            "circuit-tracer wants as many latents in every layer, and a skip in all or in none: "
            f"these have {', '.join(map(str, sorted(sizes)))} latents"
        )
    return files


def _ruleless(activation: str) -> IsthmusError:
    return IsthmusError(
        f"circuit-tracer 0.5 reads ReLU and thresholds, and this is {activation}: find thresholds "
        "first (isthmus.recipes.sparse.jumprelu.to_jumprelu), or fit with activation=jumprelu"
    )


def _across(model: Autoencoder) -> dict[str, dict[str, Tensor]]:
    """The files of a cross-layer transcoder, decoders by the layer that is read."""
    if not is_cross_layer(model):
        raise IsthmusError(
            "this is no cross-layer transcoder: pass transcoders by layer, {0: ..., 1: ...}"
        )
    thresholds = _thresholds(model)
    replacement = Replacement.of(model)
    if replacement.skips:
        raise IsthmusError(
            "circuit-tracer's files of cross-layer transcoders have no matrix past the latents: "
            "fit with skip=false"
        )
    files: dict[str, dict[str, Tensor]] = {}
    numbers = sorted(replacement.reads)
    for i, layer in enumerate(numbers):
        rows, bias = replacement.reads[layer]
        encoder = {f"W_enc_{i}": rows, f"b_enc_{i}": bias, f"b_dec_{i}": replacement.biases[layer]}
        if thresholds is not None:
            encoder[f"threshold_{i}"] = thresholds[i]
        targets = [replacement.writes[layer][target] for target in numbers[i:]]
        if rows.shape[1] != targets[0].shape[1]:
            raise IsthmusError(
                f"layer {layer} reads {rows.shape[1]} elements and writes {targets[0].shape[1]}, "
                "and circuit-tracer wants as many of both"
            )
        files[f"W_enc_{i}.safetensors"] = encoder
        files[f"W_dec_{i}.safetensors"] = {f"W_dec_{i}": torch.stack(targets, 1)}
    return files


def _thresholds(model: Autoencoder) -> Tensor | None:
    """What pre-activations must exceed, ``(layers, latents)``; None of a ReLU."""
    bottleneck: Any = model.bottleneck
    layers = len(Replacement.of(model).reads)
    if isinstance(bottleneck, LayersReLU):
        return None
    if isinstance(bottleneck, LayersJumpReLU):
        return bottleneck.log_threshold.exp().reshape(layers, -1)
    if isinstance(bottleneck, LayersBatchTopK):  # which compares products with lengths
        theta = bottleneck.threshold.reshape(-1, 1)
        lengths = norms(model).double() if bottleneck.weigh else torch.ones(bottleneck.width)
        return (theta / lengths.clamp_min(1e-300).reshape(layers, -1)).float()
    raise _ruleless("topk")
