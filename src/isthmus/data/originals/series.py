"""Series: the ts format of the UEA archive, telemetry with labelled intervals, single series."""

import ast
import csv
import io
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np

from isthmus.data.originals.published_files import Originals


def ts(files: Originals, train: str, test: str, lengths: bool = False) -> dict[str, np.ndarray]:
    """Labelled series ``(n, channels, steps)`` in float32, classes numbered in sorted order.

    Series of different lengths end in zeros; ``lengths`` keeps how long each is as ``len_*``.
    """
    parts = {part: _ts(files.text(file)) for part, file in (("train", train), ("test", test))}
    classes = sorted({label for _, labels in parts.values() for label in labels})
    steps = max(len(row[0]) for rows, _ in parts.values() for row in rows)
    arrays: dict[str, np.ndarray] = {}
    for part, (rows, labels) in parts.items():
        x = np.zeros((len(rows), len(rows[0]), steps), np.float32)
        for i, row in enumerate(rows):
            for c, channel in enumerate(row):
                x[i, c, : len(channel)] = channel
        arrays[f"x_{part}"] = x
        arrays[f"y_{part}"] = np.array([classes.index(label) for label in labels], np.uint8)
        if lengths:
            arrays[f"len_{part}"] = np.array([len(row[0]) for row in rows], np.uint16)
    return {**arrays, "class_names": np.array(classes)}


def _ts(text: str) -> tuple[list[list[np.ndarray]], list[str]]:
    """The channels of each series, and its label, behind the line ``@data``."""
    _, body = re.split(r"(?im)^@data\s*$", text, maxsplit=1)
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    split = [line.split(":") for line in lines]
    rows = [[np.array(channel.split(","), np.float64) for channel in row[:-1]] for row in split]
    return rows, [row[-1] for row in split]


def intervals(files: Originals, table: str, craft: str) -> dict[str, np.ndarray]:
    """Telemetry ``train/CHANNEL.npy`` and ``test/CHANNEL.npy`` with the anomalies that a table has.

    ``CHANNEL.label`` is 1 in every interval, ends included; intervals of several lines of one
    channel are joined.
    """
    arrays: dict[str, np.ndarray] = {}
    rows = [row for row in csv.DictReader(io.StringIO(files.text(table)))
            if row["spacecraft"] == craft]  # fmt: skip
    channels = sorted({row["chan_id"] for row in rows})
    for channel in channels:
        for part in ("train", "test"):
            arrays[f"{channel}.{part}"] = files.array(f"{part}/{channel}.npy").astype(np.float32)
        label = np.zeros(len(arrays[f"{channel}.test"]), np.uint8)
        for row in rows:
            if row["chan_id"] == channel:
                for begin, end in ast.literal_eval(row["anomaly_sequences"]):
                    label[begin : end + 1] = 1
        arrays[f"{channel}.label"] = label
    return {"channels": np.array(channels), **arrays}


def single_series(files: Originals, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """One number a blank, a file each, by ``names``; the last three numbers of a file's name.

    These are the end of the part without anomalies, and where the anomaly begins and ends.
    """
    arrays: dict[str, np.ndarray] = {}
    for file, name in names.items():
        arrays[name] = np.array(files.text(file).split(), np.float64).astype(np.float32)
        arrays[f"{name}_meta"] = np.array(PurePosixPath(file).stem.split("_")[-3:], np.int32)
    return arrays
