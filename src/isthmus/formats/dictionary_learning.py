"""dictionary_learning: ``ae.pt`` and ``config.json``, its seven classes; also andyrdt's folders.

The class fixes what is computed, and the settings of training beside it change nothing of that.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.errors import IsthmusError, unknown
from isthmus.formats.found import UNUSED, Found, Stored, count, linear, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.sayable import check_sayable
from isthmus.formats.tensor_file import TensorFile

CONFIG = "config.json"


_TOP = {"trainer", "buffer"}
"""Settings of a run; those of ``buffer`` are of the activations alone."""
_TRAINER = {
    "trainer_class", "dict_class", "activation_dim", "dict_size", "k", "lr", "steps", "seed",
    "device", "layer", "lm_name", "submodule_name", "wandb_name", "norm_factor",
    "activation_queue_length", "adaptive_sparsity_penalty", "anneal_start", "auxk_alpha",
    "bandwidth", "decay_start", "group_fractions", "group_sizes", "group_weights", "l1_penalty",
    "lambda_warm_steps", "n_sparsity_updates", "p_end", "p_start", "resample_steps",
    "sparsity_coefficient", "sparsity_function", "sparsity_loss_queue_length", "sparsity_penalty",
    "sparsity_queue_length", "sparsity_warmup_steps", "steps_before_annealing", "target_l0",
    "threshold_beta", "threshold_start_step", "top_k_aux", "warmup_steps", "weights_temperature",
}  # fmt: skip
"""Settings of all trainers that the library has had; weights are saved in the units of the
activations, its ``norm_factor`` multiplied in."""


@dataclass(frozen=True)
class Kind:
    """One class: its tensors by our names, whether latents are their columns, its rule."""

    activation: str
    subtract: bool
    W_enc: tuple[str, bool]
    b_enc: str
    W_dec: tuple[str, bool]
    b_dec: str
    more: tuple[tuple[str, str], ...] = ()
    also: tuple[str, ...] = ()
    """Tensors that are no weights."""

    @property
    def names(self) -> set[str]:
        """All tensors that the class has."""
        names = {self.W_enc[0], self.b_enc, self.W_dec[0], self.b_dec, *self.also}
        return names | {stored for _, stored in self.more}


_LINEAR = (("encoder.weight", False), ("decoder.weight", True))
_PLAIN = (("W_enc", True), ("W_dec", False))
KINDS = {
    "AutoEncoder": Kind("relu", True, _LINEAR[0], "encoder.bias", _LINEAR[1], "bias"),
    "AutoEncoderNew": Kind("relu", False, _LINEAR[0], "encoder.bias", _LINEAR[1], "decoder.bias"),
    "GatedAutoEncoder": Kind(
        "gated", True, _LINEAR[0], "gate_bias", _LINEAR[1], "decoder_bias",
        (("r_mag", "r_mag"), ("b_mag", "mag_bias")),
    ),
    "JumpReluAutoEncoder": Kind(
        "jumprelu", False, _PLAIN[0], "b_enc", _PLAIN[1], "b_dec", (("threshold", "threshold"),)
    ),
    "AutoEncoderTopK": Kind(
        "topk", True, _LINEAR[0], "encoder.bias", _LINEAR[1], "b_dec", (), ("k", "threshold")
    ),
    "BatchTopKSAE": Kind(
        "batchtopk", True, _LINEAR[0], "encoder.bias", _LINEAR[1], "b_dec",
        (("threshold", "threshold"),), ("k",),
    ),
    "MatryoshkaBatchTopKSAE": Kind(
        "batchtopk", True, _PLAIN[0], "b_enc", _PLAIN[1], "b_dec",
        (("threshold", "threshold"),), ("k", "group_sizes"),
    ),
}  # fmt: skip
"""The classes, by the name that ``dict_class`` has in their settings."""
_WRITTEN = {"relu": "AutoEncoder", "gated": "GatedAutoEncoder", "jumprelu": "JumpReluAutoEncoder",
            "topk": "AutoEncoderTopK", "batchtopk": "BatchTopKSAE"}  # fmt: skip


def _settings(place: Location) -> dict[str, Any] | None:
    """The settings of a run, beside its weights or, for a checkpoint of it, one folder up."""
    for where, name in ((place.folder, CONFIG), (place.folder.parent, f"../{CONFIG}")):
        if (where / CONFIG).is_file():
            settings = place.settings(name)
            trainer = settings.get("trainer")
            if isinstance(trainer, dict) and "dict_class" in trainer:
                return settings
    return None


def _weights(place: Location) -> str | None:
    """The one file of weights."""
    names = [n for n in place.tensors if n.endswith(".pt")]
    return "ae.pt" if "ae.pt" in names else names[0] if len(names) == 1 else None


def recognises(place: Location) -> bool:
    """Whether the settings are this library's, or the tensors one of its classes with a k."""
    name = _weights(place)
    if name is None:
        return False
    return _settings(place) is not None or _alone(place.opened(name)) is not None


def _alone(file: TensorFile) -> str | None:
    """The class that tensors by themselves show: what others write as well needs settings."""
    names = {*file.entries}
    clear = ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "MatryoshkaBatchTopKSAE")
    return next((name for name in clear if names == KINDS[name].names), None)


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """The dictionary of a trainer's folder, its weights not read yet."""
    settings, name = _settings(place), _weights(place)
    if name is None:
        raise IsthmusError(f"{place} has no ae.pt: name the file of the weights")
    file = place.opened(name)
    trainer = {} if settings is None else settings["trainer"]
    class_name = trainer.get("dict_class") if settings is not None else _alone(file)
    if class_name is None:
        raise IsthmusError(
            f"{place} has no config.json of dictionary_learning, and its tensors alone do not say "
            "their class: put it beside them"
        )
    if class_name not in KINDS:
        raise unknown("class of dictionary_learning", str(class_name), KINDS)
    kind = KINDS[class_name]
    only(place, _TOP, settings or {}, f"settings in {CONFIG}", ignore)
    only(place, _TRAINER, trainer, f"settings of the trainer in {CONFIG}", ignore)
    only(place, kind.names, file.entries, f"tensors of a {class_name}", ignore)
    weights = linear(place, file, W_enc=kind.W_enc, b_enc=kind.b_enc, W_dec=kind.W_dec,
                     b_dec=kind.b_dec, **dict(kind.more))  # fmt: skip
    d_sae, d_in = weights["W_enc"].shape
    _agree(place, trainer, {"activation_dim": d_in, "dict_size": d_sae})
    buffer = (settings or {}).get("buffer") or {}
    record = Record(
        format="dictionary_learning",
        activation=kind.activation,  # type: ignore[arg-type]
        d_in=d_in,
        d_sae=d_sae,
        d_out=d_in,
        subtract_bias=kind.subtract,
        model_name=trainer.get("lm_name"),
        module=trainer.get("submodule_name"),
        side=buffer.get("io") if buffer.get("io") in ("in", "out") else None,
        tokens={n: buffer[n] for n in ("ctx_len", "remove_bos") if n in buffer},
        metadata={"dict_class": class_name, **trainer},
    )
    dictionary = Found(record, weights)
    if "k" in kind.also:
        _choose(place, file, trainer, dictionary)
    if kind.activation == "jumprelu":
        record.threshold = "per latent"
    if settings is None:
        record.notes.append(f"no settings lie beside it, and its tensors are those of {class_name}")
    if class_name == "AutoEncoder":
        record.notes.append(
            "load_dictionary gives its atoms length 1 by default: fold_decoder_norm() does so here"
        )
    return dictionary


def _choose(
    place: Location, file: TensorFile, trainer: Mapping[str, Any], dictionary: Found
) -> None:
    """k, the threshold and the groups; a threshold that was never set is -1."""
    record = dictionary.record
    stored = {"k": int(file.read("k", torch.int64))} if "k" in file else trainer
    record.k = count(place, stored, "k")
    _agree(place, trainer, {"k": record.k})
    if record.activation == "topk":
        if "threshold" in file and float(file.read("threshold")) > 0:
            dictionary.unused_threshold = Stored(file, "threshold")
            record.notes.append(UNUSED)
        return
    record.threshold = "one"
    if float(file.read("threshold")) < 0:
        dictionary.calibrated = "threshold"
    if "group_sizes" in file:
        sizes = file.read("group_sizes", torch.float64)
        if int(sizes.sum()) != record.d_sae:
            raise IsthmusError(
                f"{place} has groups of {sizes.long().tolist()} latents, and {record.d_sae} latents"
                ": fetch it again"
            )
        dictionary.shares = tuple((sizes / sizes.sum()).tolist())


def _agree(place: Location, settings: Mapping[str, Any], known: Mapping[str, int]) -> None:
    """An error where settings and tensors contradict each other."""
    for name, value in known.items():
        if settings.get(name) not in (None, value):
            raise IsthmusError(
                f"{place} says {name}={settings[name]} in its settings and has {value} in its "
                "tensors: they are of two dictionaries, fetch both again"
            )


def written(found: Record, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write ``ae.pt`` and ``config.json`` as the library does."""
    check_sayable(found, "dictionary_learning")
    class_name = _WRITTEN[found.activation]
    if found.activation == "relu" and not found.subtract_bias:
        class_name = "AutoEncoderNew"
    lengths = tensors["W_dec"].norm(dim=1)
    if class_name == "AutoEncoder" and not torch.allclose(lengths, torch.ones_like(lengths)):
        found.notes.append(
            "load_dictionary gives its atoms length 1 by default, and latents are as many times as "
            "large there as those are long: fold_scale() and fold_decoder_norm() before writing "
            "make them alike"
        )
    kind = KINDS[class_name]
    bias = tensors["b_enc"]
    if kind.subtract and not found.subtract_bias:
        bias = bias + tensors["W_enc"] @ tensors["b_dec"]
    elif found.subtract_bias and not kind.subtract:
        bias = bias - tensors["W_enc"] @ tensors["b_dec"]
    content = {
        kind.W_enc[0]: _laid(tensors["W_enc"], kind.W_enc),
        kind.b_enc: bias,
        kind.W_dec[0]: _laid(tensors["W_dec"], kind.W_dec),
        kind.b_dec: tensors["b_dec"],
        **{stored: tensors[name] for name, stored in kind.more if name in tensors},
    }
    trainer: dict[str, Any] = {
        "dict_class": class_name,
        "activation_dim": found.d_in,
        "dict_size": found.d_sae,
        "lm_name": found.model_name,
        "submodule_name": found.module or found.hook_name,
    }
    if "k" in kind.also:
        content["k"] = torch.tensor(found.k, dtype=torch.int32)
        trainer["k"] = found.k
        content["threshold"] = tensors.get("threshold", torch.tensor([-1.0]))[0].float()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({n: t.contiguous().clone() for n, t in content.items()}, folder / "ae.pt")
    settings = {"trainer": trainer, "buffer": {"io": found.side or "out"}}
    (folder / CONFIG).write_text(json.dumps(settings, indent=1) + "\n")


def _laid(rows: Tensor, where: tuple[str, bool]) -> Tensor:
    return rows.T if where[1] else rows
