"""A model of this library in the layout of another: ``isthmus.formats.write``."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, LinearDecoder, Ruled
from isthmus.errors import IsthmusError, unknown
from isthmus.formats import dictionary_learning, saelens, sparsify
from isthmus.formats.assembly import BY_ROW
from isthmus.formats.read_from import note_origin
from isthmus.formats.record import Record, RowNorm
from isthmus.formats.whole_folder import whole_folder
from isthmus.notices import say

Writer = Callable[[Record, Mapping[str, Tensor], Path], None]
WRITERS: dict[str, Writer] = {
    "saelens": saelens.written,
    "sparsify": sparsify.written,
    "dictionary_learning": dictionary_learning.written,
}
"""The layouts that are written; this library's own is :func:`isthmus.save`."""


@torch.no_grad()
def write(model: Autoencoder, folder: str | Path, format: str = "saelens") -> Record:
    """Write a dictionary into ``folder`` in the layout of another library; returns its record.

    What is written reads the user's units: the scaler is multiplied in. Where the other library has
    no such rule (one threshold for all is one a latent there; TopK by contribution has its atoms
    made unit) that is in the record's ``notes`` and said; what it cannot compute at all is an
    :class:`IsthmusError`, and so is a folder that has files.
    """
    if format not in WRITERS:
        raise unknown("format that is written", format, WRITERS)
    record, tensors = taken_apart(model)
    with whole_folder(folder) as partial:
        WRITERS[format](record, tensors, partial)
    for note in record.notes:
        say(f"{folder}: {note}")
    return record


@torch.no_grad()
def taken_apart(model: Autoencoder) -> tuple[Record, dict[str, Tensor]]:
    """What a model is, and its weights by latents' rows, in the user's units, on the CPU.

    They are copies in float32. An :class:`IsthmusError` where it is no linear dictionary.
    """
    try:
        cfg = model.cfg
    except AttributeError:
        raise IsthmusError(
            "this model is no linear dictionary, and other libraries' layouts hold only such: "
            "keep it as a run (isthmus.save)"
        ) from None
    rule = model.part_as("bottleneck", Ruled, "a file of a dictionary").rule()
    about = Record.from_dict(cfg.metadata) if cfg.metadata else None
    record = replace(
        about or Record("isthmus", rule.activation, cfg.d_in, cfg.d_sae, cfg.d_out),
        activation=rule.activation,
        k=rule.k,
        weigh=rule.weigh,
        tolerance=rule.tolerance,
        until_repeat=rule.until_repeat,
        subtract_bias=cfg.apply_b_dec_to_input,
        input_scale=1.0,
        output_scale=1.0,
        row_norm=_row_norm(model),
        transcoder=model.signal.kind == "collection",
        skip=model.W_skip is not None,
        notes=[],
    )
    note_origin(record, model.config)
    weights = {
        "W_enc": model.W_enc.T,
        "b_enc": model.b_enc,
        "W_dec": model.W_dec,
        "b_dec": model.b_dec,
        "threshold": rule.threshold,
        "r_mag": rule.log_scale,
        "b_mag": rule.bias,
        "W_skip": model.W_skip,
    }
    tensors = {n: t.detach().cpu().float().clone() for n, t in weights.items() if t is not None}
    if rule.weigh:
        scaler = model.scaler_of("written")
        sizes = model.part_as("decoder", LinearDecoder, "a file of a dictionary").lengths()
        by_column = not scaler.by_row and scaler.scale.numel() > 1
        _unweighed(record, tensors, sizes.detach().cpu().float() if by_column else None)
    if rule.activation == "matching_pursuit" and record.row_norm == "none":
        _unscaled(record, tensors, model.scaler_of("written").scale)
    if rule.activation == "batchtopk":
        record.notes.append("one threshold for all stands for the k of training")
    return record, tensors


def _row_norm(model: Autoencoder) -> RowNorm:
    """Which normalisation of rows the scaler is; an error where no file has such."""
    scaler = model.scaler_of("read")
    if not scaler.by_row:
        return "none"
    for norm, mode in BY_ROW.items():
        if mode == scaler.mode:
            return norm
    raise IsthmusError(
        f"each row is scaled by itself (scaling={scaler.mode}) by the deviation of n elements, and "
        "files have that of n - 1: fit with scaling=global"
    )


def _unscaled(record: Record, tensors: dict[str, Tensor], scale: Tensor) -> None:
    """Atoms as pursuit has them, which scaled ones would overshoot; codes grow by the scale."""
    factor = scale.flatten()
    if not torch.allclose(factor, factor[:1]):
        raise IsthmusError(
            "matching pursuit of elements that are scaled each by itself (scaling=columns) has no "
            "atoms in the data's units: fit with scaling=global"
        )
    value = float(factor[0])
    tensors["W_dec"] /= value
    tensors["W_enc"] *= value
    record.tolerance *= value
    if value != 1.0:
        record.notes.append(
            f"atoms were kept at their length, and latents are {value:.6g} times what they were"
        )


def _unweighed(record: Record, tensors: dict[str, Tensor], sizes: Tensor | None) -> None:
    """Latents times the lengths by which their rule compares them, so that size suffices.

    These are the lengths of the atoms or, where each element has a scale of its own, ``sizes``,
    those in the model's units. Codes are as many times as large, atoms as many times shorter.
    """
    lengths = (tensors["W_dec"].norm(dim=1) if sizes is None else sizes).clamp_min(1e-12)
    tensors["W_enc"] *= lengths[:, None]
    tensors["b_enc"] *= lengths
    tensors["W_dec"] /= lengths[:, None]
    record.weigh, record.decoder_norm = False, "folded" if sizes is None else "free"
    record.notes.append(
        "atoms were given length 1, and latents multiplied by what they had"
        if sizes is None
        else "latents were multiplied by the lengths of their atoms in units of the scaled "
        "columns, by which they are compared"
    )
