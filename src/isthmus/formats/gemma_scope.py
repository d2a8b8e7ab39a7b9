"""Gemma Scope: ``params.npz`` of the first (dictionaries and transcoders), and the second's files.

The settings of the first are its paths alone: what a path does not say stays unknown.
"""

import re
from collections.abc import Sequence

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found, Stored, linear, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record

CONFIG = "config.json"
_FIRST = {"W_enc", "W_dec", "b_enc", "b_dec", "threshold"}
_SECOND = {"w_enc", "w_dec", "b_enc", "b_dec", "threshold"}
_SKIP = "affine_skip_connection"
_KNOWN = {"architecture", "model_name", "hf_hook_point_in", "hf_hook_point_out", "width", "l0",
          "affine_connection", "type"}  # fmt: skip
_SITES = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}


def _named(place: Location, names: set[str], ending: str) -> str | None:
    """The file of these tensors, perhaps with a skip."""
    for name in place.tensors:
        if name.endswith(ending) and {*place.opened(name).entries} - {_SKIP} == names:
            return name
    return None


def first_recognises(place: Location) -> bool:
    """Whether it is an archive of the five arrays."""
    return _named(place, _FIRST, ".npz") is not None


def second_recognises(place: Location) -> bool:
    """Whether it is a file of the five tensors, in small letters."""
    return _named(place, _SECOND, ".safetensors") is not None


def read_first(place: Location, ignore: Sequence[str] = ()) -> Found:
    """A dictionary or transcoder of the first Gemma Scope."""
    name = _named(place, _FIRST, ".npz")
    if name is None:
        raise IsthmusError(f"{place} has no params.npz of {', '.join(sorted(_FIRST))}")
    file = place.opened(name)
    weights = linear(place, file, W_enc=("W_enc", True), b_enc="b_enc", W_dec=("W_dec", False),
                     b_dec="b_dec", threshold="threshold")  # fmt: skip
    d_sae, d_in = weights["W_enc"].shape
    where = place.name.lower()
    transcoder = "transcoder" in where
    record = Record(
        format="gemma-scope",
        activation="jumprelu",
        threshold="per latent",
        d_in=d_in,
        d_sae=d_sae,
        d_out=weights["W_dec"].shape[1],
        transcoder=transcoder,
        tokens={"prepend_bos": True},
    )
    size = re.search(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)", where)
    layer = re.search(r"layer_(\d+)", where)
    if size is not None:
        record.model_name = f"google/gemma-2-{size[1]}" + ("-it" if size[2] == "it" else "")
    if layer is not None and transcoder:
        record.hook_name = f"blocks.{layer[1]}.ln2.hook_normalized"
        record.hook_name_out = f"blocks.{layer[1]}.hook_mlp_out"
        record.module, record.side = f"model.layers.{layer[1]}.pre_feedforward_layernorm", "out"
        record.module_out = f"model.layers.{layer[1]}.post_feedforward_layernorm"
        record.side_out = "out"
    elif layer is not None and size is not None:
        record.hook_name = f"blocks.{layer[1]}.{_SITES[size[3]]}"
        block = f"model.layers.{layer[1]}"
        inside = {"res": "", "mlp": ".post_feedforward_layernorm", "att": ".self_attn.o_proj"}
        record.module = block + inside[size[3]]
        record.side = "in" if size[3] == "att" else "out"
    if "embedding" in where:
        record.module, record.side = "model.embed_tokens", "out"
        record.notes.append(
            "it reads rows of the embedding as the table has them: hook_embed of TransformerLens "
            "is sqrt(d) times as large, divide it first and multiply what is rebuilt"
        )
    elif size is None:
        record.notes.append(
            "its path does not say whether it is a dictionary of one place or a transcoder: it was "
            "read as the " + ("latter" if transcoder else "former")
        )
    return Found(record, weights)


def read_second(place: Location, ignore: Sequence[str] = ()) -> Found:
    """A dictionary or transcoder of the second Gemma Scope."""
    name = _named(place, _SECOND, ".safetensors")
    if name is None:
        raise IsthmusError(f"{place} has no tensors {', '.join(sorted(_SECOND))}")
    cfg = place.settings(CONFIG) if CONFIG in place.names else {}
    only(place, _KNOWN, cfg, "settings", ignore)
    if cfg.get("architecture", "jump_relu") != "jump_relu":
        raise IsthmusError(
            f"{place} says architecture={cfg['architecture']!r}, and jump_relu alone is known here"
        )
    file = place.opened(name)
    if len(file.entries["w_dec"].shape) == 3:
        layers = file.entries["w_dec"].shape[1]
        raise IsthmusError(
            f"{place} is one layer of a cross-layer transcoder, which writes to {layers} layers: "
            "name the folder that has the files of all layers"
        )
    skip = _SKIP in file
    weights = linear(place, file, W_enc=("w_enc", True), b_enc="b_enc", W_dec=("w_dec", False),
                     b_dec="b_dec", threshold="threshold")  # fmt: skip
    if skip:  # stored (read, written)
        weights["W_skip"] = Stored(file, _SKIP, transposed=True)
    if cfg.get("affine_connection") not in (None, skip):
        raise IsthmusError(
            f"{place} says affine_connection={cfg['affine_connection']} and "
            f"{'has' if skip else 'lacks'} the matrix: they are of two dictionaries"
        )
    d_sae, d_in = weights["W_enc"].shape
    d_out = weights["W_dec"].shape[1]
    point_out = cfg.get("hf_hook_point_out")
    transcoder = bool(point_out) or skip or d_out != d_in or "transcoder" in place.name.lower()
    record = Record(
        format="gemma-scope-2",
        activation="jumprelu",
        threshold="per latent",
        d_in=d_in,
        d_sae=d_sae,
        d_out=d_out,
        transcoder=transcoder,
        skip=skip,
        model_name=_model(cfg.get("model_name")),
        tokens={"prepend_bos": True},
        metadata=dict(cfg),
    )
    record.module, record.side = _point(cfg.get("hf_hook_point_in"))  # type: ignore[assignment]
    record.module_out, record.side_out = _point(point_out)  # type: ignore[assignment]
    layer = re.search(r"layers?[._](\d+)", str(cfg.get("hf_hook_point_in") or place.name))
    if layer is not None:
        record.hook_name = _hook(layer[1], str(cfg.get("hf_hook_point_in") or place.name))
        if transcoder:
            record.hook_name_out = f"blocks.{layer[1]}.hook_mlp_out"
    return Found(record, weights)


def _model(name: str | None) -> str | None:
    if name is None:
        return None
    full = name if "/" in name else f"google/{name}"
    full = full.replace("-v3", "-3")
    return full.replace("-pt", "") if "270m" in full else full


def _point(point: str | None) -> tuple[str | None, str | None]:
    """``model.layers.3.output`` as a module and the side of it that is read."""
    if not point:
        return None, None
    module, _, side = point.rpartition(".")
    return (module, {"input": "in", "output": "out"}[side]) if side in ("input", "output") else (
        point, "out",
    )  # fmt: skip


def _hook(layer: str, name: str) -> str | None:
    for part, hook in (
        ("o_proj", "attn.hook_z"),
        ("attn_out", "attn.hook_z"),
        ("pre_feedforward", "hook_mlp_in"),
        ("transcoder", "hook_mlp_in"),
        ("post_feedforward", "hook_mlp_out"),
        ("mlp_out", "hook_mlp_out"),
    ):
        if part in name:
            return f"blocks.{layer}.{hook}"
    return f"blocks.{layer}.hook_resid_post"
