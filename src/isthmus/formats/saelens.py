"""SAELens: ``cfg.json`` and ``sae_weights.safetensors``, of version 6 and before.

Read from the library's documentation of its configurations and from files that it wrote (6.54).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.errors import IsthmusError, unknown
from isthmus.formats import temporal_files
from isthmus.formats.found import (
    Found,
    Given,
    Made,
    Stored,
    Weight,
    count,
    linear,
    needed,
    only,
    setting,
)
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.sayable import check_sayable
from isthmus.formats.tensor_file import TensorFile

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
_UNIT = 1e-5
"""Atoms as close to length 1 are multiplied by it without a change: what has such may say so, for
SAELens then folds lengths where it is asked to, as Neuronpedia and SAEDashboard do."""
VERSION = "6.54.12"
"""The version whose layout is written."""
_SHAPE = {"architecture", "d_in", "d_sae", "d_out", "dtype", "device", "apply_b_dec_to_input",
          "normalize_activations", "reshape_activations", "metadata", "k", "threshold",
          "rescale_acts_by_decoder_norm", "residual_threshold", "max_iterations",
          "stop_on_duplicate_support"}  # fmt: skip
_TRAINING = {
    "aux_loss_coefficient", "decoder_init_norm", "init_encoder_as_decoder_transpose",
    "jumprelu_bandwidth", "jumprelu_init_threshold", "jumprelu_sparsity_loss_mode",
    "jumprelu_ste_to_input", "jumprelu_tanh_scale", "l0_coefficient", "l0_warm_up_steps",
    "l1_coefficient",
    "l1_warm_up_steps", "lp_norm", "matryoshka_widths", "noise_sigma", "pre_act_loss_coefficient",
    "k_aux", "target_l0", "topk_threshold_lr", "use_matryoshka_aux_loss", "use_sparse_activations",
    "mse_loss_normalization", "decoder_bias_init",
}  # fmt: skip
"""Settings of training, which change nothing of what is computed afterwards."""
_FLAT = {
    "activation_fn", "activation_fn_kwargs", "activation_fn_str", "context_size", "dataset_path",
    "dataset_trust_remote_code", "disable_concat_sequences", "exclude_special_tokens",
    "finetuning_scaling_factor", "hook_head_index", "hook_layer", "hook_name", "hook_point",
    "hook_point_head_index", "hook_point_layer", "model_class_name", "model_from_pretrained_kwargs",
    "model_name", "neuronpedia_id", "prepend_bos", "sae_lens_training_version", "sae_lens_version",
    "seqpos_slice", "sequence_separator_token", "from_pretrained_path", "seed", "lr", "n_batches",
    "tokenizer_name", "type", "is_dataset_tokenized", "hook_name_out", "hook_layer_out",
    "hf_hook_name",
}  # fmt: skip
"""Settings before version 6, when all stood side by side."""
_TOKENS = ("prepend_bos", "exclude_special_tokens", "context_size", "seqpos_slice",
           "sequence_separator_token", "disable_concat_sequences")  # fmt: skip
_RULES = {
    "standard": "relu",
    "standard_training": "relu",
    "topk": "topk",
    "abstopk": "abstopk",
    "gated": "gated",
    "jumprelu": "jumprelu",
    "batchtopk": "batchtopk",
    "matryoshka_batchtopk": "batchtopk",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
    "matching_pursuit": "matching_pursuit",
}
_OWN = {"relu": "standard", "topk": "topk", "abstopk": "abstopk", "gated": "gated",
        "jumprelu": "jumprelu", "batchtopk": "jumprelu",
        "matching_pursuit": "matching_pursuit"}  # fmt: skip


_TRANSCODERS = {
    "standard": ("transcoder", "skip_transcoder"),
    "jumprelu": ("jumprelu_transcoder", "jumprelu_skip_transcoder"),
}
"""Without and with a skip."""


def recognises(place: Location) -> bool:
    """Whether the files are this library's."""
    return CONFIG in place.names and WEIGHTS in place.names


def read(place: Location, ignore: Sequence[str] = ()) -> Found | Made:
    """The dictionary of a folder, its weights not read yet."""
    stored = place.settings(CONFIG)
    old = "metadata" not in stored
    cfg, about = (_of_old(stored)) if old else (stored, dict(stored["metadata"] or {}))
    architecture = str(cfg.get("architecture", "standard" if old else None))
    if architecture == "temporal":
        return temporal_files.of_saelens(place, cfg, about, ignore)
    only(place, _SHAPE | _TRAINING | (_FLAT if old else set()), cfg, "settings", ignore)
    if architecture not in _RULES:
        raise unknown("architecture of SAELens", architecture, _RULES)
    transcoder = "transcoder" in architecture
    activation = _RULES[architecture]
    file = place.opened(WEIGHTS)
    d_in, d_sae = (setting(place, cfg, name, int) for name in ("d_in", "d_sae"))
    record = Record(
        format="saelens",
        activation=activation,  # type: ignore[arg-type]
        d_in=d_in,
        d_sae=d_sae,
        d_out=int(cfg.get("d_out") or d_in) if transcoder else d_in,
        subtract_bias=not transcoder and bool(cfg.get("apply_b_dec_to_input", True)),
        transcoder=transcoder,
        skip="skip" in architecture,
        hook_name=about.get("hook_name"),
        hook_name_out=about.get("hook_name_out"),
        module=about.get("hf_hook_name"),
        model_name=about.get("model_name"),
        tokens={name: about[name] for name in _TOKENS if about.get(name) is not None},
        release=about.get("sae_lens_version"),
        metadata=about,
    )
    if transcoder and cfg.get("apply_b_dec_to_input"):
        raise IsthmusError(
            f"{place} is a transcoder that says apply_b_dec_to_input, which would subtract what is "
            "written from what is read: fetch it again"
        )
    weights = _weights(place, file, record, cfg, ignore)
    dictionary = Found(record, weights)
    _normalisation(place, cfg, dictionary)
    _selection(place, cfg, file, dictionary)
    dtype, stored_in = str(cfg.get("dtype", "")).removeprefix("torch."), weights["W_dec"].dtype
    if dtype not in ("", "None", stored_in):
        record.notes.append(
            f"its settings say dtype={dtype}, in which SAELens computes, and weights are stored in "
            f"{stored_in}: they are computed with in float32"
        )
    if cfg.get("reshape_activations", "none") == "hook_z":
        record.notes.append("it reads all heads of hook_z side by side: pass rows that are flat")
    return dictionary


def _of_old(stored: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings as they stood before version 6, in the words of version 6."""
    renamed = {"hook_point": "hook_name", "hook_point_head_index": "hook_head_index",
               "activation_fn_str": "activation_fn"}  # fmt: skip
    cfg = {renamed.get(name, name): value for name, value in stored.items()}
    if cfg.get("activation_fn") == "topk":
        cfg["architecture"] = "topk"
        cfg["k"] = (cfg.get("activation_fn_kwargs") or {}).get("k")
    elif cfg.get("activation_fn", "relu") != "relu":
        raise IsthmusError(
            f"activation_fn={cfg['activation_fn']!r} of an old SAELens file is not known here: "
            "load it there and save it again"
        )
    norm = cfg.get("normalize_activations")
    if isinstance(norm, bool) or norm is None:
        cfg["normalize_activations"] = "expected_average_only_in" if norm else "none"
    hook = str(cfg.get("hook_name", ""))
    cfg.setdefault("reshape_activations", "hook_z" if "hook_z" in hook else "none")
    return cfg, {name: value for name, value in cfg.items() if name in _FLAT}


def _weights(
    place: Location,
    file: TensorFile,
    record: Record,
    cfg: Mapping[str, Any],
    ignore: Sequence[str],
) -> dict[str, Weight]:
    if record.activation == "matching_pursuit":
        return _tied(place, file, record, ignore)
    extra: dict[str, str] = {}
    if record.activation == "gated":
        names = {"b_enc": "b_gate"}
        extra = {"r_mag": "r_mag", "b_mag": "b_mag"}
    else:
        names = {"b_enc": "b_enc"}
    known = {"W_enc", "W_dec", "b_dec", *names.values(), *extra, "scaling_factor"}
    if record.skip:
        extra["W_skip"] = "W_skip"
        known.add("W_skip")
    logged = "log_threshold" in file and "threshold" not in file
    if record.activation == "jumprelu":
        stored = "log_threshold" if logged else "threshold"
        extra["threshold"] = stored
        record.threshold = "per latent"
        known.add(stored)
    elif record.activation == "batchtopk":
        extra["threshold"] = "topk_threshold"
        record.threshold = "one"
        known.add("topk_threshold")
    only(place, known, file.entries, "tensors", ignore)
    weights = linear(place, file, W_enc=("W_enc", True), b_enc=names["b_enc"],
                     W_dec=("W_dec", False), b_dec="b_dec", **extra)  # fmt: skip
    if logged and "threshold" in weights:
        weights["threshold"] = Stored(file, "log_threshold", change=torch.exp)
    if "scaling_factor" in file:
        factor = file.read("scaling_factor")
        if not torch.equal(factor, torch.ones_like(factor)):
            raise IsthmusError(
                f"{place} has a scaling_factor that is not one, of a kind of finetuning that "
                "SAELens no longer computes: multiply it into W_dec and leave it out"
            )
        record.notes.append("its scaling_factor is one everywhere and was left out")
    return weights


def _tied(
    place: Location, file: TensorFile, record: Record, ignore: Sequence[str]
) -> dict[str, Weight]:
    """The weights of matching pursuit, whose encoder is the decoder."""
    only(place, {"W_dec", "b_dec"}, file.entries, "tensors", ignore)
    needed(place, file, ["W_dec", "b_dec"])
    weights: dict[str, Weight] = {name: Stored(file, name) for name in ("W_dec", "b_dec")}
    if not record.subtract_bias:
        weights["b_dec"] = Given(torch.zeros(record.d_out))
        record.subtract_bias = True
        record.notes.append("b_dec takes no part, neither subtracted nor added, and is left out")
    return weights


def _normalisation(place: Location, cfg: Mapping[str, Any], dictionary: Found) -> None:
    norm, record = cfg.get("normalize_activations", "none"), dictionary.record
    match norm:
        case "none":
            pass
        case "layer_norm":
            record.row_norm = "layer_norm"
        case "constant_norm_rescale":
            record.row_norm = "constant_norm"
        case "expected_average_only_in":
            factor = None
            if SCALER in place.names:
                factor = place.settings(SCALER).get("scaling_factor")
            if factor is None:
                dictionary.calibrated = "scale"
            else:
                record.input_scale = record.output_scale = float(factor)
        case "covariance_whitening":
            raise IsthmusError(
                f"{place} whitens its inputs, and the matrix is not folded in: save it for "
                "inference in SAELens, which folds it"
            )
        case _:
            raise IsthmusError(
                f"{place} says normalize_activations={norm!r}, which is not known here: nothing is "
                "guessed"
            )


def _selection(
    place: Location, cfg: Mapping[str, Any], file: TensorFile, dictionary: Found
) -> None:
    record = dictionary.record
    if record.activation == "matching_pursuit":
        steps = cfg.get("max_iterations")
        record.k = record.d_in if steps is None else count(place, cfg, "max_iterations")
        record.tolerance = float(cfg.get("residual_threshold", 1e-2))
        record.until_repeat = bool(cfg.get("stop_on_duplicate_support", True))
    if record.activation in ("topk", "abstopk", "batchtopk"):
        k = cfg.get("k")
        if not isinstance(k, (int, float)) or isinstance(k, bool) or k < 1:
            raise IsthmusError(f"{place} says k={k!r}, and so many latents cannot be on: mend k")
        if k != round(k) and record.activation != "batchtopk":  # there it is a mean
            raise IsthmusError(f"{place} says k={k!r}, which is no number of latents: mend k")
        record.k = round(k)
        # Codes are those of rows of length 1, which the library multiplies in and divides out.
        dictionary.fold = bool(cfg.get("rescale_acts_by_decoder_norm", False))
    if record.activation == "batchtopk" and not float(file.read("topk_threshold")) > 0:
        dictionary.calibrated = "threshold"


def described(
    found: Record, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and the tensors by SAELens 6's names; ``tensors`` are by latents' rows."""
    check_sayable(found, "saelens")
    architecture = _OWN[found.activation]
    if found.transcoder:
        architecture = _TRANSCODERS[architecture][found.skip]
    content = {
        "W_enc": tensors["W_enc"].T,
        ("b_gate" if found.activation == "gated" else "b_enc"): tensors["b_enc"],
        "W_dec": tensors["W_dec"],
        "b_dec": tensors["b_dec"],
    }
    for name in ("threshold", "r_mag", "b_mag", "W_skip"):
        if name in tensors:
            content[name] = tensors[name]
    about = dict(found.metadata) if found.format == "saelens" else {}
    about.update({"hook_name": found.hook_name, "model_name": found.model_name})
    if found.module is not None and found.side != "in":  # the path of a module is its output there
        about["hf_hook_name"] = found.module
    if found.hook_name_out is not None:
        about["hook_name_out"] = found.hook_name_out
    about.update(found.tokens)
    cfg: dict[str, Any] = {
        "architecture": architecture,
        "d_in": found.d_in,
        "d_sae": found.d_sae,
        "dtype": str(content["W_dec"].dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": found.subtract_bias,
        "normalize_activations": _WRITTEN_NORMS[found.row_norm],
        "reshape_activations": "none",
        "metadata": {**about, "sae_lens_version": VERSION},
    }
    if found.transcoder:
        cfg["d_out"] = found.d_out
    if found.activation in ("topk", "abstopk"):
        lengths = content["W_dec"].norm(dim=1)
        unit = torch.allclose(lengths, torch.ones_like(lengths), rtol=0, atol=_UNIT)
        cfg.update({"k": found.k, "rescale_acts_by_decoder_norm": found.weigh or unit})
    if found.activation == "matching_pursuit":
        content = {name: content[name] for name in ("W_dec", "b_dec")}
        cfg.update({"max_iterations": found.k, "residual_threshold": found.tolerance,
                    "stop_on_duplicate_support": found.until_repeat})  # fmt: skip
    return cfg, {name: tensor.contiguous() for name, tensor in content.items()}


def written(found: Record, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write the folder of a dictionary, as SAELens 6 does; ``tensors`` are by latents' rows."""
    from safetensors.torch import save_file

    cfg, content = described(found, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(content, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(cfg, indent=1) + "\n")


_WRITTEN_NORMS = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm": "constant_norm_rescale",
}
