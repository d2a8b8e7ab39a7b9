"""Crosscoders of two public code bases: jkminder's dictionary_learning, and Kissane's replication.

The first has ``encoder.weight`` ``(L, d, F)``, ``encoder.bias``, ``decoder.weight`` ``(L, F, d)``
and ``decoder.bias`` ``(L, d)``, with buffers of its BatchTopK rule and of how activations are
normalised; the second ``W_enc`` ``(L, d, F)``, ``W_dec`` ``(F, L, d)``, ``b_enc`` and ``b_dec``
``(L, d)``, with a ReLU.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.formats.found import Stored, Weight, needed, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.several import CROSSCODER, Several, crosscoder_weights
from isthmus.formats.tensor_file import TensorFile

_LEARNING = ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias")
_REPLICATION = ("W_enc", "b_enc", "W_dec", "b_dec")
_BUFFERS = {
    "k", "threshold", "code_normalization_id", "activation_mean", "activation_std",
    "activation_global_scale", "target_rms",
}  # fmt: skip
_BY_SUM = 1
"""The normalisation of codes of jkminder's that is the crosscoders' own: the sum of lengths."""


def _named(place: Location, names: Sequence[str]) -> str | None:
    """The file of these tensors whose encoder has three axes."""
    for name in place.tensors:
        entries = place.opened(name).entries
        if names[0] in entries and len(entries[names[0]].shape) == 3:
            return name
    return None


def recognises(place: Location) -> bool:
    """Whether the files are of either kind."""
    return any(_named(place, names) is not None for names in (_LEARNING, _REPLICATION))


def read(place: Location, ignore: Sequence[str] = ()) -> Several:
    """The crosscoder of a folder or a file; its parts are ``0``, ``1`` and so on."""
    name = _named(place, _LEARNING)
    if name is not None:
        return _learning(place, place.opened(name), ignore)
    name = _named(place, _REPLICATION)
    if name is None:
        raise IsthmusError(f"{place} has no tensors of a crosscoder: name the file that has them")
    return _replication(place, place.opened(name), ignore)


def _shaped(place: Location, file: TensorFile, shapes: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in shapes if name not in file]
    if missing:
        raise IsthmusError(
            f"{place} has an encoder of three axes in {file.path.name}, as crosscoders have, and "
            f"lacks {', '.join(missing)}: fetch it again, for nothing is filled in"
        )
    for name, shape in shapes.items():
        if file.entries[name].shape != shape:
            raise IsthmusError(
                f"{place} has {name} of shape {file.entries[name].shape} where {shape} is wanted: "
                "its layers are not as many in all, or it is transposed"
            )


def _several(
    record: Record,
    parts: dict[str, dict[str, Weight]],
    bias: Stored,
    options: dict[str, object],
    more: Mapping[str, Tensor],
    scales: Mapping[str, tuple[Tensor | None, float]],
) -> Several:
    count = sum(math.prod(weight.shape) for part in parts.values() for weight in part.values())
    widths = dict.fromkeys(parts, record.d_in)
    options = {"latent_dim": record.d_sae, **options}

    def weights() -> dict[str, Tensor]:
        return {**crosscoder_weights(parts, bias.read), **more}

    return Several(record, CROSSCODER, widths, options, weights, count + record.d_sae, scales)


def _replication(place: Location, file: TensorFile, ignore: Sequence[str]) -> Several:
    layers, d, f = file.entries["W_enc"].shape
    shapes = {"W_enc": (layers, d, f), "W_dec": (f, layers, d), "b_enc": (f,),
              "b_dec": (layers, d)}  # fmt: skip
    _shaped(place, file, shapes)
    only(place, shapes, file.entries, "tensors", ignore)
    cfg = place.settings("cfg.json") if "cfg.json" in place.names else {}
    record = Record(
        format="crosscoders", activation="relu", d_in=d, d_sae=f, d_out=d,
        hook_name=cfg.get("hook_point"), model_name=cfg.get("model_name"),
        dtype=file.entries["W_enc"].dtype, metadata=dict(cfg),
    )  # fmt: skip
    record.notes.append(
        "it reads activations that were brought to a mean norm of sqrt(d) in each model, by "
        "factors that its file does not have: multiply yours first"
    )
    parts: dict[str, dict[str, Weight]] = {}
    for i in range(layers):
        parts[str(i)] = {
            "W_enc": Stored(file, "W_enc", transposed=True, at=i),
            "W_dec": Column(file, "W_dec", i),
            "b_dec": Stored(file, "b_dec", at=i),
        }
    return _several(record, parts, Stored(file, "b_enc"), {}, {}, {})


class Column(Stored):
    """``(F, d)`` of a tensor ``(F, L, d)``: what stands at one index of its second axis."""

    def __init__(self, file: TensorFile, name: str, layer: int) -> None:
        super().__init__(file, name, at=layer)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as wanted."""
        shape = self.file.entries[self.name].shape
        return (shape[0], shape[2])

    def read(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The tensor itself, filled some rows at a time."""
        out, first = torch.empty(self.shape, dtype=dtype), 0
        for block in self.file.blocks(self.name):
            out[first : first + len(block)] = block[:, self.at]
            first += len(block)
        return out


def _learning(place: Location, file: TensorFile, ignore: Sequence[str]) -> Several:
    layers, d, f = file.entries["encoder.weight"].shape
    shapes = {"encoder.weight": (layers, d, f), "encoder.bias": (f,),
              "decoder.weight": (layers, f, d), "decoder.bias": (layers, d)}  # fmt: skip
    _shaped(place, file, shapes)
    only(place, {*shapes, *_BUFFERS}, file.entries, "tensors", ignore)
    options, more = _rule(place, file)
    record = Record(
        format="crosscoders",
        activation="batchtopk" if options else "relu",
        k=options.get("k"),  # type: ignore[arg-type]
        threshold="one" if options else None,
        weigh=bool(options), d_in=d, d_sae=f, d_out=d,
        dtype=file.entries["encoder.weight"].dtype,
    )  # fmt: skip
    if options and "code_normalization_id" not in file:
        record.notes.append(
            "it does not say by which lengths latents are compared, and was read as an older file: "
            "by the sum over layers"
        )
    parts: dict[str, dict[str, Weight]] = {}
    for i in range(layers):
        parts[str(i)] = {
            "W_enc": Stored(file, "encoder.weight", transposed=True, at=i),
            "W_dec": Stored(file, "decoder.weight", at=i),
            "b_dec": Stored(file, "decoder.bias", at=i),
        }
    scales = _scales(place, file, layers)
    return _several(record, parts, Stored(file, "encoder.bias"), options, more, scales)


def _rule(place: Location, file: TensorFile) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Options and state of BatchTopK; nothing for a ReLU."""
    if "threshold" not in file and "k" not in file:
        return {}, {}
    needed(place, file, ["threshold", "k"])
    kind = int(file.read("code_normalization_id", None)) if "code_normalization_id" in file else 1
    if kind != _BY_SUM or file.entries["threshold"].shape:
        raise IsthmusError(
            f"{place} compares latents by other lengths than the sum over layers "
            f"(code_normalization_id={kind}), for which there is no recipe here: use "
            "dictionary_learning for this one"
        )
    theta = file.read("threshold", torch.float64)
    if not float(theta) >= 0:
        raise IsthmusError(
            f"{place} chooses latents over a whole batch, and its threshold is {float(theta):g}, so"
            " that it was not trained to its end: take a later checkpoint"
        )
    state = {"bottleneck.threshold": theta, "bottleneck.batches": torch.tensor(100)}
    return {"k": int(file.read("k", None)), "select": "batch"}, state


def _scales(
    place: Location, file: TensorFile, layers: int
) -> dict[str, tuple[Tensor | None, float]]:
    """What is taken off the activations of each layer, and what they are divided by."""
    if "activation_mean" not in file or "activation_std" not in file:
        return {}
    mean = file.read("activation_mean", torch.float64)
    deviation = file.read("activation_std", torch.float64)
    if bool(mean.isnan().any() or deviation.isnan().any()):  # that is how none is stored
        return {}
    target = float(file.read("target_rms")) if "target_rms" in file else 1.0
    name = "activation_global_scale"
    stored = float(file.read(name)) if name in file else 1.0
    whole = target / math.sqrt(float(deviation.square().sum()) + 1e-8)
    if not math.isclose(stored, whole, rel_tol=1e-3):
        raise IsthmusError(
            f"{place} divides every element of its activations by its own deviation, or scales by "
            f"{stored:g} where its deviations say {whole:g}: use dictionary_learning for this one"
        )
    return {str(i): (mean[i].float(), 1.0 / stored) for i in range(layers)}
