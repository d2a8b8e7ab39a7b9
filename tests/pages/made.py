"""Features folders as the interpretation of a dictionary writes them, from a few lists."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def write_features(folder, latents, examples, labels=(), **about):
    """``latents``, ``examples`` and ``labels`` are lists of dictionaries; missing keys are filled.

    A latent's number is its place; an example needs ``latent``, ``tokens`` and ``values``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**_latent(number), **given} for number, given in enumerate(latents)]
    pq.write_table(pa.Table.from_pylist(rows, _LATENTS), folder / "latents.parquet")
    rows = [{**_example(given["values"]), **given} for given in examples]
    pq.write_table(pa.Table.from_pylist(rows, _EXAMPLES), folder / "examples.parquet")
    if labels:
        rows = [{**_LABEL, **given} for given in labels]
        pq.write_table(pa.Table.from_pylist(rows, _LABELS), folder / "labels.parquet")
    known = {"format": 1, "model": "m", "point": "p", "text": "t", "tokens": 1000, **about}
    (folder / "about.json").write_text(json.dumps(known))
    return folder


def _latent(number):
    return {
        "latent": number, "rate": 0.01, "mean": 1.0, "top": 2.0, "histogram": [3.0, 1.0],
        "histogram_low": 0.0, "histogram_high": 2.0, "tokens": [" a"], "token_shares": [0.5],
        "up": [" b"], "up_values": [1.0], "down": [" c"], "down_values": [-1.0], "near": [],
        "near_cosine": [], "joint": [], "joint_value": [], "x": float(number),
        "y": float(number % 3), "norm": 1.0,
    }  # fmt: skip


def _example(values):
    peak = int(np.argmax(np.abs(values))) if len(values) else 0
    return {
        "group": 0, "document": 0, "row": 0, "place": peak, "begin": 0, "split": 0,
        "value": float(values[peak]) if len(values) else 1.0,
    }  # fmt: skip


_LABEL = {"method": "rules", "score": None, "metric": "", "examples": 4, "detail": "{}"}

_single, _text, _number = pa.list_(pa.float32()), pa.list_(pa.string()), pa.list_(pa.int32())
_LATENTS = pa.schema(
    {
        "latent": pa.int32(), "rate": pa.float32(), "mean": pa.float32(), "top": pa.float32(),
        "histogram": _single, "histogram_low": pa.float32(), "histogram_high": pa.float32(),
        "tokens": _text, "token_shares": _single, "up": _text, "up_values": _single,
        "down": _text, "down_values": _single, "near": _number, "near_cosine": _single,
        "joint": _number, "joint_value": _single, "x": pa.float32(), "y": pa.float32(),
        "norm": pa.float32(),
    }
)  # fmt: skip
_EXAMPLES = pa.schema(
    {
        "latent": pa.int32(), "group": pa.int8(), "document": pa.int32(), "row": pa.int32(),
        "place": pa.int32(), "value": pa.float32(), "begin": pa.int32(), "tokens": _text,
        "values": _single, "split": pa.int8(),
    }
)  # fmt: skip
_LABELS = pa.schema(
    {
        "latent": pa.int32(), "label": pa.string(), "method": pa.string(), "score": pa.float32(),
        "metric": pa.string(), "examples": pa.int32(), "detail": pa.string(),
    }
)  # fmt: skip
