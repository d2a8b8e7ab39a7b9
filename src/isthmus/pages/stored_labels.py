"""Labels of latents as the page shows them: each once, with all its scores."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.interpretation.features.format import read_columns
from isthmus.interpretation.labels.table import COLUMNS, REMEDY
from isthmus.pages.kit.blocks import number, short

Labels = dict[int, list[dict[str, Any]]]
"""The labels of latents by place, the best scored first."""


def read_labels(path: Path, latents: np.ndarray) -> Labels:
    """The labels of a features folder by place in ``latents``; empty without the file.

    Each has ``label``, ``method``, ``examples`` and ``scores``: name, value, and where it is known
    the 95 % interval.
    """
    if not path.exists():
        return {}
    place = {int(latent): i for i, latent in enumerate(latents)}
    by_latent: dict[int, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
    for row in zip(*read_columns(path, COLUMNS, remedy=REMEDY).values(), strict=True):
        latent, label, method, score, metric, examples, detail = row
        if int(latent) not in place or label is None:
            continue
        empty = {"label": label, "method": method or "", "examples": int(examples), "scores": []}
        one = by_latent[place[int(latent)]].setdefault((label, method), empty)
        if np.isfinite(score):
            one["scores"].append([metric or "score", number(score, 4), *_interval(detail)])
    labels = {}
    for at, those in by_latent.items():
        for one in those.values():
            one["scores"].sort(key=lambda score: score[0])
        labels[at] = sorted(those.values(), key=_order)
    return labels


def _order(label: dict[str, Any]) -> float:
    return -label["scores"][0][1] if label["scores"] else 1.0


def _interval(detail: str | None) -> list[float | None]:
    """The interval that the details of a score may hold."""
    try:
        low, high = json.loads(detail or "{}")["interval"]
        return short((float(low), float(high)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
