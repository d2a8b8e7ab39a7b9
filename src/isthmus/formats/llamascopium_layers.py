"""llamascopium's crosscoders and cross-layer transcoders: one file, layers along the first axis.

A crosscoder has ``W_E`` ``(L, d, F)``, ``b_E`` ``(L, F)``, ``W_D`` ``(L, F, d)`` and ``b_D`` ``(L,
d)``; a cross-layer transcoder ``W_E``, ``b_E`` and, by the layer that is written, ``W_D.i`` ``(i +
1, F, d)`` and ``b_D.i`` ``(d,)``. Activations of every place were brought to norm sqrt(d).
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.formats.found import Given, Stored, Weight, count, needed, only, setting
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.several import (
    CROSS_LAYER,
    CROSSCODER,
    Atoms,
    Several,
    crosscoder_weights,
    layer_parts,
    layer_weights,
)
from isthmus.formats.tensor_file import TensorFile

THETA = "activation_function.log_jumprelu_threshold"
NORM = "dataset_average_activation_norm."


def read(
    place: Location, file: TensorFile, cfg: Mapping[str, Any], ignore: Sequence[str]
) -> Several:
    """The crosscoder or cross-layer transcoder of a file."""
    crossing = "W_D" not in file
    return _layers(place, file, cfg, ignore) if crossing else _crosscoder(place, file, cfg, ignore)


def factor(place: Location, d: int, mean: Any) -> float:
    """``sqrt(d) / mean``: what activations of a mean norm were multiplied by."""
    if not isinstance(mean, (int, float)) or not mean > 0:
        raise IsthmusError(
            f"{place} says that activations have a mean norm of {mean!r}, by which nothing can be "
            "scaled: fetch it again"
        )
    return math.sqrt(d) / float(mean)


def _hooks(place: Location, cfg: Mapping[str, Any], name: str, layers: int) -> list[str]:
    hooks = setting(place, cfg, name, list)
    if len(hooks) != layers or len({*hooks}) != layers:
        raise IsthmusError(
            f"{place} names {len(hooks)} places in {name} and has weights of {layers}: they are of "
            "two dictionaries, fetch both again"
        )
    return [str(hook) for hook in hooks]


def _scales(
    place: Location, file: TensorFile, cfg: Mapping[str, Any], d: int, parts: Mapping[str, str]
) -> dict[str, tuple[Tensor | None, float]]:
    """What the activations of each part, by its hook, are divided by."""
    how = cfg.get("norm_activation", "dataset-wise")
    if how == "inference":  # folded in already
        return {}
    if how != "dataset-wise":
        raise IsthmusError(
            f"{place} says norm_activation={how!r}, which is not known here: fold it in by "
            "llamascopium first (standardize_parameters_of_dataset_norm)"
        )
    needed(place, file, [f"{NORM}{hook}" for hook in parts.values()])
    means = {part: float(file.read(f"{NORM}{hook}")) for part, hook in parts.items()}
    return {part: (None, 1.0 / factor(place, d, mean)) for part, mean in means.items()}


def _shaped(place: Location, file: TensorFile, shapes: Mapping[str, tuple[int, ...]]) -> None:
    needed(place, file, shapes)
    for name, shape in shapes.items():
        if file.entries[name].shape != shape:
            raise IsthmusError(
                f"{place} has {name} of shape {file.entries[name].shape} where {shape} is wanted: "
                "fetch it again"
            )


def _crosscoder(
    place: Location, file: TensorFile, cfg: Mapping[str, Any], ignore: Sequence[str]
) -> Several:
    layers, d, f = file.entries["W_E"].shape
    hooks = _hooks(place, cfg, "hook_points", layers)
    shapes = {"W_E": (layers, d, f), "b_E": (layers, f), "W_D": (layers, f, d), "b_D": (layers, d)}
    norms = [name for name in file.entries if name.startswith(NORM)]
    if cfg.get("act_fn", "relu") != "relu":
        raise IsthmusError(
            f"{place} is a crosscoder with act_fn={cfg['act_fn']!r}, of which each layer has other "
            "latents on by the lengths of its own atoms, and a crosscoder here has one code: use "
            "llamascopium for this one"
        )
    only(place, [*shapes, *norms], file.entries, "tensors", ignore)
    _shaped(place, file, shapes)
    parts: dict[str, dict[str, Weight]] = {
        hook: {
            "W_enc": Stored(file, "W_E", transposed=True, at=i),
            "W_dec": Stored(file, "W_D", at=i),
            "b_dec": Stored(file, "b_D", at=i),
        }
        for i, hook in enumerate(hooks)
    }
    record = Record(
        format="llamascopium", activation="relu", d_in=d, d_sae=f, d_out=d,
        dtype=file.entries["W_E"].dtype,
        metadata=json.loads(json.dumps(cfg)),
    )  # fmt: skip
    return Several(
        record,
        CROSSCODER,
        dict.fromkeys(hooks, d),
        {"latent_dim": f},
        lambda: crosscoder_weights(parts, lambda: file.read("b_E").sum(0)),
        sum(math.prod(shape) for shape in shapes.values()),
        _scales(place, file, cfg, d, {hook: hook for hook in hooks}),
    )


def _layers(
    place: Location, file: TensorFile, cfg: Mapping[str, Any], ignore: Sequence[str]
) -> Several:
    layers, d, f = file.entries["W_E"].shape
    into = _hooks(place, cfg, "hook_points_in", layers)
    out = _hooks(place, cfg, "hook_points_out", layers)
    shapes: dict[str, tuple[int, ...]] = {"W_E": (layers, d, f), "b_E": (layers, f)}
    biased = bool(cfg.get("use_decoder_bias", True))
    for i in range(layers):
        shapes[f"W_D.{i}"] = (i + 1, f, d)
        if biased:
            shapes[f"b_D.{i}"] = (d,)
    rule = str(cfg.get("act_fn", "relu"))
    if rule == "jumprelu":
        shapes[THETA] = (layers, f)
    norms = [name for name in file.entries if name.startswith(NORM)]
    only(place, [*shapes, *norms], file.entries, "tensors", ignore)
    _shaped(place, file, shapes)
    options, k = _rule(place, cfg, rule, layers)
    weighed = bool(cfg.get("sparsity_include_decoder_norm", True))
    thresholds = _thresholds(file, layers, weighed) if rule == "jumprelu" else None
    weights: list[dict[str, Weight]] = []
    for i in range(layers):
        layer: dict[str, Weight] = {
            "W_enc": Stored(file, "W_E", transposed=True, at=i),
            "b_enc": Stored(file, "b_E", at=i),
            "b_dec": Stored(file, f"b_D.{i}") if biased else Given(torch.zeros(d)),
        }
        if thresholds is not None:
            layer["threshold"] = Given(thresholds[i])
        weights.append(layer)
    hooks = {f"{i}:in": hook for i, hook in enumerate(into)}
    hooks |= {f"{i}:out": hook for i, hook in enumerate(out)}
    record = Record(
        format="llamascopium",
        activation="topk" if k else rule,  # type: ignore[arg-type]
        k=k, d_in=d, d_sae=f * layers, d_out=d, weigh=bool(k) and weighed, transcoder=True,
        threshold="per latent" if thresholds is not None else None,
        dtype=file.entries["W_E"].dtype,
        metadata={**json.loads(json.dumps(cfg)), "parts": hooks},
    )  # fmt: skip
    return Several(
        record,
        CROSS_LAYER,
        dict.fromkeys(layer_parts(layers), d),
        {"latent_dim": f, **options},
        lambda: layer_weights(weights, d, _atoms(file, layers), str(place)),
        sum(math.prod(shape) for shape in shapes.values()),
        _scales(place, file, cfg, d, hooks),
    )


def _rule(
    place: Location, cfg: Mapping[str, Any], rule: str, layers: int
) -> tuple[dict[str, Any], int | None]:
    """The options that say which latents are on, and how many of each layer."""
    if rule in ("relu", "jumprelu"):
        return {"activation": rule}, None
    if rule not in ("topk", "layertopk"):
        raise IsthmusError(
            f"{place} says act_fn={rule!r}, which depends on the batch or is not known here: "
            "convert it to jumprelu in llamascopium first"
        )
    k = count(place, cfg, "top_k")
    weigh = bool(cfg.get("sparsity_include_decoder_norm", True))
    if rule == "topk":
        return {"k": k, "select": "row", "weigh": weigh}, k
    if k % layers:
        raise IsthmusError(
            f"{place} keeps {k} latents of {layers} layers together, and a cross-layer transcoder "
            "here a multiple of the number of layers: use llamascopium for this one"
        )
    return {"k": k // layers, "select": "layers", "weigh": weigh}, k // layers


def _thresholds(file: TensorFile, layers: int, weighed: bool) -> Tensor:
    """Thresholds of pre-activations ``(L, F)``: where products are compared, over the lengths."""
    theta = file.read(THETA, torch.float64).exp()
    if not weighed:
        return theta
    squares = torch.zeros_like(theta)
    for target in range(layers):
        for source in range(target + 1):
            first = 0
            for block in file.blocks(f"W_D.{target}", source):
                squares[source, first : first + len(block)] += block.double().square().sum(1)
                first += len(block)
    return theta / squares.sqrt().clamp_min(1e-300)


def _atoms(file: TensorFile, layers: int) -> Atoms:
    for target in range(layers):
        for source in range(target + 1):
            first = 0
            for block in file.blocks(f"W_D.{target}", source):
                yield source, target, first, block
                first += len(block)
