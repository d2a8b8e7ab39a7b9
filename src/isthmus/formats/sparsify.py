"""sparsify (EleutherAI): ``cfg.json`` and ``sae.safetensors`` of one hookpoint.

clt-training, which grew out of it, writes more settings; of what it writes, transcoders of one
layer are read.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found, count, linear, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.sayable import check_sayable

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
KNOWN = {"activation", "expansion_factor", "normalize_decoder", "num_latents", "k", "multi_topk",
          "skip_connection", "transcode", "d_in", "signed"}  # fmt: skip
_ACROSS = {
    "n_targets": 0, "n_sources": 0, "normalize_io": False, "post_encoder_scale": False,
    "coalesce_topk": "none", "topk_coalesced": False, "divide_cross_layer": False,
    "per_source_tied": False, "secondary_target_tied": False,
}  # fmt: skip
"""Settings of clt-training that change nothing where they have these values."""
TRAINING = {"dtype", "tp_output", "train_post_encoder", "use_fp8"}
"""Settings of clt-training that change nothing afterwards."""
_ADDED = "post_enc"
"""What clt-training adds to latents that are on."""


def recognises(place: Location) -> bool:
    """Whether the files are this library's."""
    return CONFIG in place.names and WEIGHTS in place.names


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """The dictionary or transcoder of a hookpoint, its weights not read yet."""
    cfg = place.settings(CONFIG)
    only(place, {*KNOWN, *_ACROSS, *TRAINING}, cfg, "settings", ignore)
    across = [f"{n}={cfg[n]!r}" for n, plain in _ACROSS.items() if cfg.get(n, plain) != plain]
    if across:
        raise IsthmusError(
            f"{place} is a layer of EleutherAI's cross-layer transcoders ({', '.join(across)}), "
            "which nothing can be computed of by itself: name the folder that has those of all "
            "layers"
        )
    activation = cfg.get("activation", "topk")
    if activation not in ("topk", "groupmax") or cfg.get("signed"):
        raise IsthmusError(
            f"{place} says activation={activation!r}, signed={cfg.get('signed')!r}, which is not "
            "known here: nothing is guessed"
        )
    file = place.opened(WEIGHTS)
    skip, transcode = bool(cfg.get("skip_connection")), bool(cfg.get("transcode"))
    names = {"encoder.weight", "encoder.bias", "W_dec", "b_dec"} | ({"W_skip"} if skip else set())
    only(place, {*names, _ADDED}, file.entries, "tensors", ignore)
    if _ADDED in file and bool((file.read(_ADDED) != 0).any()):
        raise IsthmusError(
            f"{place} adds a trained number to every latent that is on ({_ADDED}), for which there "
            "is no recipe here: use clt-training for this one"
        )
    more = {"W_skip": "W_skip"} if skip else {}
    weights = linear(place, file, W_enc=("encoder.weight", False), b_enc="encoder.bias",
                     W_dec=("W_dec", False), b_dec="b_dec", **more)  # fmt: skip
    d_in, k = count(place, cfg, "d_in"), count(place, cfg, "k")
    d_sae = weights["W_enc"].shape[0]
    stated_latents = cfg.get("num_latents") or d_in * int(cfg.get("expansion_factor") or 0)
    if stated_latents not in (0, d_sae):
        raise IsthmusError(
            f"{place} says that it has {stated_latents} latents and has {d_sae} in its tensors: "
            "they are of two dictionaries, fetch both again"
        )
    if activation == "groupmax" and d_sae % k:
        raise IsthmusError(
            f"{place} has {d_sae} latents, which cannot be cut into k={k} groups of one size: its "
            "settings are of another dictionary, fetch both again"
        )
    record = Record(
        format="sparsify",
        activation=activation,
        k=k,
        d_in=d_in,
        d_sae=d_sae,
        d_out=weights["W_dec"].shape[1],
        subtract_bias=not transcode,
        transcoder=transcode,
        skip=skip,
        module=_hookpoint(place.folder.name),
        side="in" if transcode else "out",
        side_out="out" if transcode else None,
        metadata=dict(cfg),
    )
    if transcode:
        record.module_out = record.module
    if skip and not transcode:
        raise IsthmusError(
            f"{place} is no transcoder and yet adds a matrix of its input to the output: no recipe "
            "here does so"
        )
    return Found(record, weights)


def _hookpoint(name: str) -> str | None:
    return (
        name if name.startswith(("layers.", "h.", "model.", "transformer.", "gpt_neox.")) else None
    )


def written(found: Record, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write ``cfg.json`` and ``sae.safetensors`` as the library does."""
    from safetensors.torch import save_file

    check_sayable(found, "sparsify")
    if found.activation == "groupmax" and found.d_sae % (found.k or 1):
        raise IsthmusError(
            f"sparsify's groups are of one size, and {found.d_sae} latents cannot be cut into "
            f"{found.k}: fit a latent_dim that is a multiple of k"
        )
    bias = tensors["b_enc"]
    if not found.transcoder and not found.subtract_bias:
        bias = bias + tensors["W_enc"] @ tensors["b_dec"]
    content = {"encoder.weight": tensors["W_enc"], "encoder.bias": bias,
               "W_dec": tensors["W_dec"], "b_dec": tensors["b_dec"]}  # fmt: skip
    if found.skip:
        content["W_skip"] = tensors["W_skip"]
    lengths = tensors["W_dec"].norm(dim=1)
    cfg = {
        "activation": found.activation,
        "expansion_factor": max(1, found.d_sae // found.d_in),
        "normalize_decoder": torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3),
        "num_latents": found.d_sae,
        "k": found.k,
        "multi_topk": False,
        "skip_connection": found.skip,
        "transcode": found.transcoder,
        "d_in": found.d_in,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: t.contiguous().clone() for n, t in content.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(cfg, indent=1) + "\n")
