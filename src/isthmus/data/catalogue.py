"""Data sets in the folder that ISTHMUS_DATA names, by its ``manifest.json``."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data.files import npz_member, opened_npz
from isthmus.data.named import Data
from isthmus.errors import IsthmusError, unknown
from isthmus.tables import files as reading

VARIABLE = "ISTHMUS_DATA"

_verified: set[tuple[str, int, int]] = set()


@dataclass(frozen=True)
class Entry:
    """One file of the manifest."""

    name: str
    path: Path
    folder: str
    sha256: str
    licence: str
    citation: str
    description: str


@dataclass(frozen=True)
class _Layout:
    """Which members of an archive hold the rows and the labels, and what makes rows of them."""

    rows: str
    labels: str | None = None
    read: Callable[[np.ndarray], np.ndarray] = lambda rows: rows


_LAYOUTS = {
    "bigbuckbunny_54x96": _Layout("frames"),
    "citeseq_pbmc_400": _Layout("rna", "batch"),
    "dsprites_reference": _Layout("frames", read=lambda x: x * np.uint8(255)),
    "eeg_motor_imagery_S001": _Layout("x", "y", lambda x: x.transpose(0, 2, 1)),
    "haxby2001_sub001_25mm": _Layout("bold", "label"),
    "jasper_ridge_hsi": _Layout("cube", read=lambda x: x.reshape(-1, x.shape[-1])),
    "nitime_fmri_roi": _Layout("bold"),
    "omniglot_small1_28": _Layout("x", "character"),
    "pbmc68k_reduced": _Layout("counts", "label"),
}
_SPARSE = frozenset({"worm_neuron_counts_csr"})
_TELEMETRY = frozenset({"msl", "smap"})

# The label column of each table, and what is neither a feature nor a label.
_TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "abalone": ("rings", ()),
    "adult": ("income", ("fnlwgt",)),
    "california_housing": ("median_house_value", ()),
    "ETTh1": ("", ("date",)),
    "esol_delaney": (
        "measured log solubility in mols per litre",
        ("Compound ID", "ESOL predicted log solubility in mols per litre", "smiles"),
    ),
    "german_credit": ("risk", ()),
    "wine_quality": ("quality", ("colour",)),
}
_PLAIN_FOLDERS = frozenset({"activations", "images", "tabular", "tabular/adbench", "timeseries"})
_NOT_PLAIN = frozenset({"ucr_anomaly_internalbleeding"})
_WHAT = {
    "audio": "sound",
    "games": "text (records of games)",
    "geometry": "point clouds",
    "graphs": "graphs",
    "images": "single images",
    "models": "a model",
    "molecules": "text (molecules and sequences)",
    "recsys": "a list of ratings",
    "text": "text",
    "timeseries": "long series of different lengths",
}


def entries() -> dict[str, Entry]:
    """The files of the manifest by name (the file's stem; ``adbench/...`` where it is nested).

    Empty where ISTHMUS_DATA is not set.
    """
    place = os.environ.get(VARIABLE)
    if not place:
        return {}
    root = Path(place).expanduser()
    try:
        manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
        found: dict[str, Entry] = {}
        for item in manifest:
            for file in item["files"]:
                entry = _entry(root, item, file)
                found.setdefault(entry.name, entry)
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IsthmusError(
            f"{VARIABLE} is {place!r}, which holds no readable manifest.json: point it to the "
            "folder of the data sets, or unset it"
        ) from error


def is_plain(entry: Entry) -> bool:
    """Whether the file is known to hold plain numeric rows."""
    stem = _stem(entry.path)
    if stem in _NOT_PLAIN:
        return False
    if stem in _TABLES or stem in _LAYOUTS or stem in _SPARSE or stem in _TELEMETRY:
        return True
    return entry.path.suffix == ".npz" and entry.folder in _PLAIN_FOLDERS


def has_channels(entry: Entry) -> bool:
    """Whether the set consists of channels, one of which has to be chosen."""
    return _stem(entry.path) in _TELEMETRY


def read(entry: Entry, channel: str | None = None) -> Data:
    """The data set of that file, its checksum verified.

    ``channel`` chooses one telemetry channel, for the sets that consist of them. Text columns of
    a table are one-hot encoded, and its rows with missing values dropped. Series are turned to
    ``(rows, steps, channels)``.
    """
    if not is_plain(entry):
        what = _WHAT.get(entry.folder.split("/")[0], "several arrays")
        raise IsthmusError(
            f"{entry.name!r} holds {what}, not plain numeric rows: make an array of it first, from "
            f"{str(entry.path)!r}"
        )
    stem = _stem(entry.path)
    if channel is not None and stem not in _TELEMETRY:
        raise IsthmusError(f"{entry.name!r} has no channels to choose: leave ':{channel}' out")
    _verify(entry)
    if stem in _TABLES:
        parts = _table(entry.path, *_TABLES[stem])
    else:
        with opened_npz(entry.path) as archive:
            parts = _archive(entry, stem, archive, channel)
    return Data(
        entry.name + (f":{channel}" if channel else ""),
        *parts,
        licence=entry.licence,
        citation=entry.citation,
        description=entry.description,
    )


_Parts = tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]


def _entry(root: Path, item: Mapping[str, Any], file: Mapping[str, Any]) -> Entry:
    path = root / file["path"]
    folder = str(Path(file["path"]).parent.as_posix())
    nested = folder.split("/")[1:]
    return Entry(
        "/".join([*nested, _stem(path)]),
        path,
        folder,
        file["sha256"],
        item["licence"],
        item["citation"],
        item["what"],
    )


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _verify(entry: Entry) -> None:
    """Compare the checksum, once per file and process."""
    try:
        state = entry.path.stat()
        mark = (str(entry.path), state.st_size, state.st_mtime_ns)
        if mark in _verified:
            return
        with entry.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IsthmusError(
            f"the data set {entry.name!r} is listed, but {str(entry.path)!r} cannot be read: "
            "restore the file"
        ) from error
    if digest != entry.sha256:
        raise IsthmusError(
            f"{str(entry.path)!r} differs from its checksum in manifest.json: get it again"
        )
    _verified.add(mark)


def _archive(entry: Entry, stem: str, archive: Any, channel: str | None) -> _Parts:
    def member(name: str) -> np.ndarray:
        return npz_member(entry.path, archive, name)

    names = list(archive.files)
    if stem in _TELEMETRY:
        channels = [str(c) for c in member("channels")]
        if channel is None:
            raise IsthmusError(
                f"{entry.name!r} consists of channels ({', '.join(channels[:5])}, ...): choose "
                f"one, as in '{entry.name}:{channels[0]}'"
            )
        if channel not in channels:
            raise unknown(f"channel of {entry.name!r}", channel, channels)
        train, test, label = (member(f"{channel}.{part}") for part in ("train", "test", "label"))
        return train, test, np.zeros(len(train), label.dtype), label
    if stem in _SPARSE:
        from scipy.sparse import csr_array

        counts = csr_array(
            (member("data"), member("indices").astype(np.int32), member("indptr")),
            shape=tuple(member("shape")),
        )
        return counts.toarray(), None, member("label"), None
    if stem in _LAYOUTS:
        layout = _LAYOUTS[stem]
        labels = None if layout.labels is None else member(layout.labels)
        return layout.read(member(layout.rows)), None, labels, None
    if "x_train" in names:
        train = member("x_train")
        held, train_labels, test_labels = (
            member(name) if name in names else None for name in ("x_test", "y_train", "y_test")
        )
        if entry.folder == "timeseries" and train.ndim == 3:
            train = train.transpose(0, 2, 1)
            held = None if held is None else held.transpose(0, 2, 1)
        return train, held, train_labels, test_labels
    for rows in ("X", "x", "data"):
        if rows in names:
            return member(rows), None, member("y") if "y" in names else None, None
    raise IsthmusError(
        f"{entry.name!r} has none of the members x_train, X, x and data: open one of its members, "
        f"as in '{entry.path}:{names[0]}'"
    )


def _table(path: Path, label: str, left_out: tuple[str, ...]) -> _Parts:
    header, cells = reading.text(path)
    columns = dict(zip(header, zip(*cells, strict=True), strict=True))
    split = np.array(columns.pop("split", ())) == "test"
    labels = np.array(columns.pop(label, ()))
    features: list[np.ndarray] = []
    for name, column in columns.items():
        if name in left_out:
            continue
        values = np.array(column)
        try:
            features.append(np.where(values == "", "nan", values).astype(np.float32))
        except ValueError:
            features.extend(
                (values == level).astype(np.float32) for level in np.unique(values).tolist()
            )
    x = np.stack(features, 1)
    y = _labels(labels) if label else None
    whole = np.isfinite(x).all(1)
    if not split.size:
        return x[whole], None, None if y is None else y[whole], None
    train, test = whole & ~split, whole & split
    return x[train], x[test], None if y is None else y[train], None if y is None else y[test]


def _labels(labels: np.ndarray) -> np.ndarray:
    """Numbers as they are, words as their rank."""
    try:
        return labels.astype(np.float32)
    except ValueError:
        return np.unique(labels, return_inverse=True)[1].astype(np.int64)
