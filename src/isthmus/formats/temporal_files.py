"""Temporal dictionaries: the authors' folders (``conf.yaml``), and SAELens's ``TemporalSAE``.

Read from the authors' code (eslubana/TemporalFeatureAnalysis) and from what SAELens 6.54 computes.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Signal
from isthmus.errors import IsthmusError
from isthmus.formats.assembly import EXAMPLES, filled
from isthmus.formats.found import Made, count, needed, only, setting
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.tensor_file import TensorFile

CONFIG, WEIGHTS = "conf.yaml", "latest_ckpt.safetensors"
OWN = "sae_weights.safetensors"
"""SAELens's weights."""
_PARTS = ("k_ctx", "q_target", "v_ctx", "c_proj")
_SETTINGS = {
    "architecture", "d_in", "d_sae", "dtype", "device", "apply_b_dec_to_input", "metadata",
    "normalize_activations", "reshape_activations", "n_heads", "n_attn_layers",
    "bottleneck_factor", "sae_diff_type", "kval_topk", "tied_weights",
    "activation_normalization_factor",
}  # fmt: skip
_LENGTH = 500
"""Positions of a text in the authors' training, where a file does not say."""


@dataclass
class Temporal(Made):
    """What a reader found: the record, the recipe's options, and where the weights are.

    ``names`` are those of the atoms, the bias and, where it has one, the reading weight in the
    file; ``factor`` is what activations are multiplied by, ``length`` the positions of a text.
    """

    record: Record
    options: dict[str, Any]
    file: TensorFile
    names: Mapping[str, str]
    factor: float
    length: int
    biased: bool = True

    @property
    def parameters(self) -> int:  # type: ignore[override]
        """The number of weights, not read yet."""
        return sum(math.prod(entry.shape) for entry in self.file.entries.values())

    @torch.no_grad()
    def model(self) -> Autoencoder:
        """The model: a temporal dictionary of texts of any length."""
        d = self.record.d_in
        signal = Signal("series", (self.length, d), ragged=True)
        options = {**self.options, "scaling": "global"}
        model = filled(self.record, "temporal", signal, options, self._tensors())
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(EXAMPLES, min(self.length, 8), d, generator=generator)
        model.reference_rows = Batch(model.scaler.inverse(rows))
        return model

    def _tensors(self) -> dict[str, Tensor]:
        d = self.record.d_in
        read = {
            f"encoder.{name}": self.file.read(name, torch.float32)
            for name in self.file.entries
            if name.startswith("attn_layers.")
        }
        read["decoder.weight"] = self.file.read(self.names["atoms"], torch.float32)
        bias = self.file.read(self.names["bias"], torch.float32).flatten()
        read["decoder.bias"] = bias if self.biased else torch.zeros(d)
        if "reading" in self.names:
            read["encoder.weight"] = self.file.read(
                self.names["reading"], torch.float32, transposed=True
            )
        # Rows of the model's units are read as root of d times as long as those of the file.
        read["scaler.scale"] = torch.tensor(1.0 / (self.factor * math.sqrt(d)))
        read["scaler.offset"] = torch.tensor(0.0)
        return read


def recognises(place: Location) -> bool:
    """Whether the files are the authors'."""
    return CONFIG in place.names and WEIGHTS in place.names


def read(place: Location, ignore: Sequence[str] = ()) -> Temporal:
    """The dictionary of one of the authors' folders."""
    sections = _sections(place)
    llm, sae, data = (sections.get(name, {}) for name in ("llm", "sae", "data"))
    for name in ("sae", "llm"):
        if name not in sections:
            raise IsthmusError(f"{place} says nothing of {name} in {CONFIG}: fetch it again")
    about = {
        "d_in": count(place, llm, "dimin"),
        "n_heads": sae.get("n_heads"),
        "n_attn_layers": sae.get("n_attn_layers"),
        "bottleneck_factor": sae.get("bottleneck_factor"),
        "sae_diff_type": sae.get("sae_diff_type"),
        "kval_topk": sae.get("kval_topk"),
        "tied_weights": sae.get("tied_weights"),
        "factor": setting(place, sae, "scaling_factor", object),
    }
    wider = setting(place, sae, "exp_factor", object)
    if isinstance(wider, bool) or not isinstance(wider, int | float) or not 0 < wider < math.inf:
        raise IsthmusError(
            f"{place} says exp_factor={wider!r}, which is no number of latents for each element: "
            "mend it, or fetch it again"
        )
    about["d_sae"] = int(about["d_in"] * wider)
    names = {"atoms": "D", "bias": "b", "reading": "E"}
    model = llm.get("model_hf_name")
    dictionary = _found(place, place.opened(WEIGHTS), about, names, "temporal", ignore)
    dictionary.record.model_name = str(model) if model else None
    dictionary.record.metadata = sections
    if isinstance(data.get("context_length"), int):
        dictionary.length = data["context_length"]
    return dictionary


def of_saelens(
    place: Location, cfg: Mapping[str, Any], about: Mapping[str, Any], ignore: Sequence[str]
) -> Temporal:
    """The dictionary of a folder of SAELens: ``cfg`` its settings, ``about`` its metadata."""
    only(place, _SETTINGS, cfg, "settings", ignore)
    norm = cfg.get("normalize_activations", "none")
    if norm not in ("none", "constant_scalar_rescale"):
        raise IsthmusError(
            f"{place} is a temporal dictionary that says normalize_activations={norm!r}, which is "
            "not read here: multiply the factor in by constant_scalar_rescale"
        )
    factor = cfg.get("activation_normalization_factor", 1.0) if norm != "none" else 1.0
    names = {"atoms": "W_dec", "bias": "b_dec", "reading": "W_enc"}
    dictionary = _found(
        place, place.opened(OWN), {**cfg, "factor": factor}, names, "saelens", ignore
    )
    record = dictionary.record
    if not cfg.get("apply_b_dec_to_input", True):
        if "reading" in dictionary.names:
            raise IsthmusError(
                f"{place} adds b_dec to what it writes and does not take it off what it reads, "
                "which no temporal dictionary of the authors does: save it again in SAELens with "
                "apply_b_dec_to_input"
            )
        dictionary.biased, record.subtract_bias = False, False
        record.notes.append("b_dec takes no part, neither subtracted nor added, and is left out")
    record.hook_name, record.module = about.get("hook_name"), about.get("hf_hook_name")
    record.model_name, record.release = about.get("model_name"), about.get("sae_lens_version")
    record.metadata = dict(about)
    if isinstance(about.get("context_size"), int):
        dictionary.length = about["context_size"]
    return dictionary


def _found(
    place: Location,
    file: TensorFile,
    about: Mapping[str, Any],
    names: dict[str, str],
    format: str,
    ignore: Sequence[str],
) -> Temporal:
    """What both layouts say in their own words, checked against the shapes of the tensors."""
    d, width = (count(place, about, name) for name in ("d_in", "d_sae"))
    heads, layers, narrow = (
        count(place, about, name) for name in ("n_heads", "n_attn_layers", "bottleneck_factor")
    )
    kind, tied = about.get("sae_diff_type"), setting(place, about, "tied_weights", bool)
    if kind not in ("topk", "relu"):
        raise IsthmusError(
            f"{place} says sae_diff_type={kind!r}, and codes by topk or relu are read here: use "
            "the library that wrote it"
        )
    if tied:
        del names["reading"]
    shapes: dict[str, tuple[int, ...]] = {names["atoms"]: (width, d)}
    if not tied:
        shapes[names["reading"]] = (d, width)
    for layer in range(layers):
        for part in _PARTS:
            rows = width // narrow if part in _PARTS[:2] else width
            shapes[f"attn_layers.{layer}.{part}.weight"] = (rows, width)
            shapes[f"attn_layers.{layer}.{part}.bias"] = (rows,)
    known = {*shapes, names["bias"]}
    only(place, known, file.entries, "tensors", ignore)
    needed(place, file, sorted(known))
    for name, shape in shapes.items():
        if file.entries[name].shape != shape:
            raise IsthmusError(
                f"{place} has {name} of shape {file.entries[name].shape} where its settings mean "
                f"{shape}: fetch it again"
            )
    if math.prod(file.entries[names["bias"]].shape) != d:
        raise IsthmusError(
            f"{place} has {names['bias']} of shape {file.entries[names['bias']].shape} for {d} "
            "elements: fetch it again"
        )
    factor = setting(place, about, "factor", object)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise IsthmusError(
            f"{place} multiplies activations by {factor!r}, which is no size: fetch it again"
        )
    k = count(place, about, "kval_topk") if kind == "topk" else None
    if k is not None and k > width:
        raise IsthmusError(f"{place} says kval_topk={k} of {width} latents: fetch it again")
    options = {
        "latent_dim": width, "k": k, "activation": kind, "heads": heads, "layers": layers,
        "narrow": narrow, "tied": tied,
    }  # fmt: skip
    record = Record(
        format=format, activation=kind, d_in=d, d_sae=width, d_out=d, k=k, subtract_bias=True,
        input_scale=float(factor), output_scale=float(factor), context=layers,
        dtype=file.entries[names["atoms"]].dtype,
    )  # fmt: skip
    return Temporal(record, options, file, names, float(factor), _LENGTH)


def _sections(place: Location) -> dict[str, dict[str, Any]]:
    """The plain lines of ``conf.yaml``, ``name: value`` within sections; the rest is left out."""
    sections: dict[str, dict[str, Any]] = {}
    present: dict[str, Any] = {}
    text = (place.folder / CONFIG).read_text("utf-8", errors="replace")
    place.used.add(CONFIG)
    for line in text.splitlines():
        bare = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        if head := re.fullmatch(r"(\w+):", bare):
            present = sections.setdefault(head[1], {})
        elif entry := re.fullmatch(r"\s+(\w+):\s+(\S.*)", bare):
            present[entry[1]] = _value(entry[2])
    return sections


def _value(text: str) -> Any:
    """A plain value of YAML."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in ("null", "~", "none"):
        return None
    for kind in (int, float):
        try:
            return kind(text.replace("_", ""))
        except ValueError:
            continue
    return text.strip("\"'")
