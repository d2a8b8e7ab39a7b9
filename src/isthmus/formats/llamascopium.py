"""Llama Scope and its library: ``hyperparams.json`` of 2024, and the folders of llamascopium.

Both train on activations of mean norm sqrt(d): the factor stands in the settings of the first and
among the tensors of the second. The first's threshold is in units of raw activations, though its
weights are not.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from isthmus.errors import IsthmusError
from isthmus.formats import llamascopium_layers
from isthmus.formats.found import Found, Given, Stored, count, linear, needed, only, setting
from isthmus.formats.llamascopium_layers import NORM, THETA, factor
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.several import Several
from isthmus.formats.tensor_file import TensorFile

HYPER, FINAL = "hyperparams.json", "checkpoints/final.safetensors"
CONFIG, WEIGHTS = "config.json", "sae_weights.safetensors"
_FOUR = {"encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"}
_LOGGED = "log_jumprelu_threshold"
_NATIVE = {"W_E", "b_E", "W_D", "b_D"}
_KINDS = {"relu": "relu", "topk": "topk", "jumprelu": "jumprelu", "batchtopk": "batchtopk"}


def recognises(place: Location) -> bool:
    """Whether the files are of any of the three kinds."""
    if HYPER in place.names:
        return (place.folder / FINAL).is_file()
    if CONFIG not in place.names or WEIGHTS not in place.names:
        return False
    names = {*place.opened(WEIGHTS).entries}
    return names >= {"W_E", "W_D"} or names >= {"W_E", "W_D.0"} or names == _FOUR | {_LOGGED}


def read(place: Location, ignore: Sequence[str] = ()) -> Found | Several:
    """The dictionary of a folder."""
    if HYPER in place.names:
        return _hyper(place, ignore)
    file = place.opened(WEIGHTS)
    cfg = place.settings(CONFIG)
    if "W_E" in file and len(file.entries["W_E"].shape) == 3:
        return llamascopium_layers.read(place, file, cfg, ignore)
    return _distilled(place, file, cfg) if _LOGGED in file else _native(place, file, cfg, ignore)


def _four(place: Location, file: TensorFile) -> dict[str, Any]:
    return linear(place, file, W_enc=("encoder.weight", False), b_enc="encoder.bias",
                  W_dec=("decoder.weight", True), b_dec="decoder.bias")  # fmt: skip


def _hyper(place: Location, ignore: Sequence[str]) -> Found:
    cfg = place.settings(HYPER)
    file = place.opened(FINAL)
    only(place, _FOUR, file.entries, "tensors", ignore)
    weights = _four(place, file)
    d_sae, d_in = weights["W_enc"].shape
    mean = (cfg.get("dataset_average_activation_norm") or {}).get("in")
    scale = factor(place, d_in, mean)
    theta = float(setting(place, cfg, "jump_relu_threshold", float)) * scale
    weights["threshold"] = Given(torch.tensor(theta, dtype=torch.float64))
    record = _llama(cfg, "one", d_in, d_sae)
    record.input_scale = record.output_scale = scale
    for name, value in (("d_model", d_in), ("d_sae", d_sae)):
        if cfg.get(name) not in (None, value):
            raise IsthmusError(
                f"{place} says {name}={cfg[name]} and has {value} in its tensors: they are of two "
                "dictionaries"
            )
    return Found(record, weights)


def _llama(
    cfg: Mapping[str, Any], threshold: Literal["one", "per latent"], d_in: int, d_sae: int
) -> Record:
    """What all dictionaries of Llama Scope share."""
    return Record(
        format="llama-scope",
        activation="jumprelu",
        threshold=threshold,
        d_in=d_in,
        d_sae=d_sae,
        d_out=d_in,
        hook_name=cfg.get("hook_point_in"),
        model_name="meta-llama/Llama-3.1-8B",
        tokens={"prepend_bos": True},
        metadata=dict(cfg),
    )


def _distilled(place: Location, file: TensorFile, cfg: Mapping[str, Any]) -> Found:
    weights = _four(place, file)
    weights["threshold"] = Stored(file, _LOGGED, change=torch.exp)
    d_sae, d_in = weights["W_enc"].shape
    record = _llama(cfg, "per latent", d_in, d_sae)
    mean = cfg.get("dataset_average_activation_norm")
    mean = mean.get("in") if isinstance(mean, Mapping) else mean
    dictionary = Found(record, weights)
    if mean is None:
        dictionary.calibrated = "scale"
    else:
        record.input_scale = record.output_scale = factor(place, d_in, mean)
    return dictionary


def _native(
    place: Location, file: TensorFile, cfg: Mapping[str, Any], ignore: Sequence[str]
) -> Found:
    means = [name for name in file.entries if name.startswith(NORM)]
    extra = {THETA} if THETA in file else set()
    only(place, _NATIVE | extra | {*means}, file.entries, "tensors", ignore)
    if cfg.get("use_glu_encoder"):
        raise IsthmusError(
            f"{place} has a gated linear encoder (use_glu_encoder), for which there is no recipe "
            "here: use llamascopium for this one"
        )
    biased = cfg.get("use_decoder_bias", True)
    needed(place, file, sorted(_NATIVE if biased else _NATIVE - {"b_D"}))
    weights: dict[str, Any] = {
        "W_enc": Stored(file, "W_E", transposed=True),
        "b_enc": Stored(file, "b_E"),
        "W_dec": Stored(file, "W_D"),
        "b_dec": Stored(file, "b_D")
        if biased
        else Given(torch.zeros(file.entries["W_D"].shape[1])),
    }
    d_sae, d_in = weights["W_enc"].shape
    d_out = weights["W_dec"].shape[1]
    act = str(cfg.get("act_fn", "relu"))
    if act not in _KINDS:
        raise IsthmusError(
            f"{place} says act_fn={act!r}, which is no rule of one layer known here: convert"
            " it to jumprelu in llamascopium first"
        )
    counted = act in ("topk", "batchtopk")
    read, written = cfg.get("hook_point_in"), cfg.get("hook_point_out")
    record = Record(
        format="llamascopium",
        activation=_KINDS[act],  # type: ignore[arg-type]
        k=count(place, cfg, "top_k") if counted else None,
        d_in=d_in,
        d_sae=d_sae,
        d_out=d_out,
        weigh=counted and bool(cfg.get("sparsity_include_decoder_norm", True)),
        transcoder=written not in (None, read) or d_out != d_in,
        hook_name=read,
        hook_name_out=written if written != read else None,
        metadata=json.loads(json.dumps(cfg)),
    )
    _native_scale(place, file, cfg, record, read, written)
    if act == "jumprelu":
        needed(place, file, [THETA])
        weights["threshold"] = _threshold(file, cfg)
        record.threshold = "per latent"
    return Found(record, weights, calibrated="threshold" if act == "batchtopk" else None)


def _native_scale(
    place: Location,
    file: TensorFile,
    cfg: Mapping[str, Any],
    record: Record,
    read: str | None,
    written: str | None,
) -> None:
    """The factors of what is read and written, by the mean norms that are stored."""
    how = cfg.get("norm_activation", "dataset-wise")
    if how == "inference":  # folded in already
        return
    if how != "dataset-wise":
        raise IsthmusError(
            f"{place} says norm_activation={how!r}, which is not known here: fold it in by "
            "llamascopium first (standardize_parameters_of_dataset_norm)"
        )
    both = []
    for hook, size in ((read, record.d_in), (written or read, record.d_out)):
        name = f"{NORM}{hook}"
        needed(place, file, [name])
        both.append(factor(place, size, float(file.read(name))))
    record.input_scale, record.output_scale = both


def _threshold(file: TensorFile, cfg: Mapping[str, Any]) -> Any:
    """Thresholds of pre-activations: with ``sparsity_include_decoder_norm`` those of products."""
    if not cfg.get("sparsity_include_decoder_norm", True):
        return Stored(file, THETA, change=torch.exp)
    lengths = file.read("W_D").double().norm(dim=1).clamp_min(1e-300)
    return Given(file.read(THETA, torch.float64).exp() / lengths)
