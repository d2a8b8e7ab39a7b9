"""Published dictionaries as models of this library: ``isthmus.from_pretrained``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder, Source
from isthmus.errors import IsthmusError
from isthmus.formats.assembly import assembled
from isthmus.formats.found import UNUSED, Found, Made
from isthmus.formats.header_check import check_headers
from isthmus.formats.location import HUB, Location, locate
from isthmus.formats.orientation import check_orientation
from isthmus.formats.recognition import check_alone, read_at
from isthmus.notices import say
from isthmus.recipes.sparse.jumprelu import to_jumprelu
from isthmus.runs import load
from isthmus.training.checkpoint import CONFIG
from isthmus.training.device import resolve_device

OWN = "model.safetensors"
"""The weights of this library's own folders."""


def from_pretrained(
    where: str | Path,
    *,
    calibrate: Array | Source | None = None,
    format: str | None = None,
    ignore: Sequence[str] = (),
    sha256: str | None = None,
    k: int | None = None,
    threshold: bool = False,
    device: str = "cpu",
    revision: str | None = None,
) -> Autoencoder:
    """A published dictionary, of any library, as an ordinary model.

    ``where`` is a folder, a file, or ``hf:owner/repository/path@revision`` of the Hugging Face hub.
    The layout is told by the names of the files and the shapes of the tensors; ``format`` names it
    where several would do. The numbers are those of the library that wrote it, in float32. What
    was read stands in ``model.cfg.metadata`` (a :class:`~isthmus.formats.Record` as plain values)
    and is saved with the model; what could not be represented is said.

    A file that would be read wrongly is an :class:`IsthmusError`: unknown settings or tensors
    (``ignore`` names those that change nothing), a normalisation that is not known, weights that do
    not fit, a checksum other than ``sha256`` of the weights. ``k`` is how many latents of a row are
    on, for files that do not say (0: as many as are positive). ``threshold`` takes latents above
    the one threshold that a file has beside its k (dictionary_learning's ``use_threshold`` of
    TopK), not the k largest of a row. A rule that depends on the batch, or a
    scale that the file does not have, is found on ``calibrate``, rows ``(n, d)`` or ``(batch,
    position, d)`` of the activations; without it that is an error. A ``revision`` stands behind the
    place, and given by itself is an error that says so.

    >>> model = isthmus.from_pretrained("hf:google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82")
    """  # noqa: E501
    if revision is not None:
        raise IsthmusError(
            f"revision={revision!r} is no option here: write it behind the place, "
            f"{HUB}owner/repository/path@{revision}"
        )
    return opened(
        locate(where), calibrate=calibrate, format=format, ignore=ignore, sha256=sha256, k=k,
        threshold=threshold, device=device,
    )  # fmt: skip


def opened(
    place: Location,
    *,
    calibrate: Array | Source | None = None,
    format: str | None = None,
    ignore: Sequence[str] = (),
    sha256: str | None = None,
    k: int | None = None,
    threshold: bool = False,
    device: str = "cpu",
) -> Autoencoder:
    """The model that lies at a place, as :func:`from_pretrained` reads it."""
    is_run = place.only is None and {CONFIG, OWN} <= {*place.names}
    if is_run and format is None:
        check_alone(place, [OWN], "Isthmus")
        _check_settled(place, k, calibrate, threshold)
        place.used |= {CONFIG, OWN}
        place.check(sha256)
        return load(place.folder, device=device)
    _, dictionary = read_at(place, format, ignore)
    record = dictionary.record
    record.source, record.revision = str(place), place.revision
    record.sha256 = place.hashes()
    place.check(sha256)
    if isinstance(dictionary, Made):
        _check_settled(place, k, calibrate, threshold)
        model = dictionary.model()
        model.config["published"] = record.to_dict()
        for note in record.notes:
            say(f"{place}: {note}")
        return model.to(resolve_device(device))
    _counted(dictionary, k)
    _chosen(dictionary, threshold)
    check_headers(dictionary)
    rows = None if calibrate is None else _rows(calibrate, record.d_in)
    if dictionary.calibrated is not None and rows is None:
        raise IsthmusError(_LACKING[dictionary.calibrated].format(place=place))
    check_orientation(dictionary)
    if dictionary.calibrated == "scale" and rows is not None:
        _scaled(dictionary, rows)
    model = (
        _thresholded(dictionary, rows)
        if dictionary.calibrated == "threshold"
        else assembled(dictionary)
    )
    model.config["published"] = record.to_dict()
    for note in record.notes:
        say(f"{place}: {note}")
    return model.to(resolve_device(device))


def _check_settled(
    place: Location, k: int | None, calibrate: Array | Source | None, threshold: bool
) -> None:
    """An error where something is passed that the files say themselves."""
    if k is not None or calibrate is not None or threshold:
        raise IsthmusError(
            f"{place} says itself which latents are on: leave out k=, calibrate= and threshold="
        )


_LACKING = {
    "scale": "{place} was trained on activations of mean norm sqrt(d), and the factor is not in the"
    " file: pass calibrate=X, rows of the activations",
    "threshold": "{place} chooses latents over a whole batch, and no threshold is stored that would"
    " do so for a row: pass calibrate=X, rows of the activations",
}


def _counted(dictionary: Found, k: int | None) -> None:
    """Take k where the file has none; an error where both say something, or neither."""
    record = dictionary.record
    if not dictionary.asks_k:
        if k is not None and k != record.k:
            raise IsthmusError(
                f"{record.source} says k={record.k}, and k={k} was passed: leave it out"
            )
        return
    if k is None:
        raise IsthmusError(
            f"{record.source} does not say how many latents of a row are on: pass k=, as its "
            "authors tell it (k=0 for all that are positive)"
        )
    if not 0 <= k <= record.d_sae:
        raise IsthmusError(f"k={k} of {record.d_sae} latents cannot be on: pass k= between these")
    record.activation, record.k = ("topk", k) if k else ("relu", None)
    record.notes.append(f"k={k} was passed, for the file does not say it")


def _chosen(dictionary: Found, threshold: bool) -> None:
    """By k, or where it is asked for by the threshold that the file has as well."""
    stored, record = dictionary.unused_threshold, dictionary.record
    if not threshold:
        return
    if stored is None:
        raise IsthmusError(
            f"{record.source} has no threshold beside its rule ({record.activation}): leave out "
            "threshold="
        )
    dictionary.weights["threshold"], record.threshold = stored, "one"
    record.notes = [note for note in record.notes if note != UNUSED]
    record.notes.append("latents above its threshold are on, not the k largest (threshold=True)")


def _rows(calibrate: Array | Source, d: int) -> Array | Source:
    if isinstance(calibrate, Source):
        return calibrate
    rows = torch.as_tensor(calibrate).float().flatten(0, -2)
    if rows.shape[1] != d:
        raise IsthmusError(f"calibrate has rows of {rows.shape[1]} elements, and {d} are read")
    return rows


def _scaled(dictionary: Found, rows: Array | Source) -> None:
    """The factor sqrt(d) / E|x| of the rows."""
    x = rows if isinstance(rows, Tensor) else rows.batch(torch.arange(len(rows))).x  # type: ignore[union-attr]
    mean = x.double().norm(dim=1).mean()
    if not bool(mean > 0):
        raise IsthmusError("calibrate has rows of no length: pass activations")
    factor = float(dictionary.record.d_in**0.5 / mean)
    dictionary.record.input_scale = dictionary.record.output_scale = factor
    dictionary.record.notes.append(
        f"activations are multiplied by {factor:.6g}, found on {len(x):,} rows (calibrate)"
    )


def _thresholded(dictionary: Found, rows: Array | Source | None) -> Autoencoder:
    """A model with the one threshold that k latents exceed on average over the rows."""
    assert rows is not None
    weights = {name: weight for name, weight in dictionary.weights.items() if name != "threshold"}
    record = replace(dictionary.record, activation="topk", threshold=None)
    topk_model = assembled(Found(record, weights, fold=dictionary.fold))
    model = to_jumprelu(topk_model, rows)
    lengths = model.W_dec.norm(dim=1) if record.weigh else torch.ones(record.d_sae)
    theta = float((cast(Tensor, model.thresholds) * lengths)[0])
    original = dictionary.record
    original.dtype, original.decoder_norm, original.notes = (
        record.dtype,
        record.decoder_norm,
        record.notes,
    )
    original.activation = "jumprelu"
    original.threshold = "per latent" if original.weigh else "one"
    original.weigh = False
    original.notes.append(
        f"the threshold {theta:.6g} is what {original.k} latents a row exceed on average over "
        f"{len(rows):,} rows (calibrate)"
    )
    return model
