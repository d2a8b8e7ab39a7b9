"""Labels as data: one row for each latent, method and measure, in ``labels.parquet``."""

import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.interpretation.features.format import (
    arrow,
    features_folder,
    read_table,
    schema,
)
from isthmus.runs import write_atomically

LABELS, CONTROLS = "labels.parquet", "controls.parquet"
"""Names of the files of labels, and of scores that labels of other latents get."""

COLUMNS = {
    "latent": "int32", "label": "string", "method": "string", "score": "float32",
    "metric": "string", "examples": "int32", "detail": "string",
}  # fmt: skip
"""The columns of both files and their types, as in :data:`features.format.COLUMNS`."""

REMEDY = "delete it and label again"


@dataclass(frozen=True)
class Label:
    """What a latent is said to mean, and how well that was found to hold.

    latent
        Its number.
    label
        The explanation.
    method
        Who explained, and who judged where that was another.
    score
        Value of ``metric``, None where there is none: not scored, or no example to score on.
    metric
        ``detection`` or ``fuzzing`` (balanced accuracies), or empty.
    examples
        Windows that the explainer saw.
    detail
        What JSON can hold: ``interval`` (95 %), counts, the rule, the judge.
    """

    latent: int
    label: str
    method: str
    score: float | None = None
    metric: str = ""
    examples: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, str, str]:
        """Of labels with the same key a file keeps the last."""
        return self.latent, self.method, self.metric


def write_labels(folder: str | Path, labels: Iterable[Label], *, name: str = LABELS) -> Path:
    """Add labels to the file of a features folder, replacing those of the same key.

    The file is written whole or not at all. Labels of other methods, measures and latents stay.
    One process at a time may write.
    """
    path = features_folder(folder) / name
    every = {label.key: label for label in read_labels(folder, name=name)}
    every.update((label.key, label) for label in labels)
    pa = arrow()
    rows = [every[key] for key in sorted(every)]
    columns = {
        field.name: pa.array([_cell(row, field.name) for row in rows], type=field.type)
        for field in schema(COLUMNS)
    }
    memory = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), memory)
    write_atomically(path, memory.getvalue())
    return path


def read_labels(
    folder: str | Path,
    *,
    method: str | None = None,
    metric: str | None = None,
    name: str = LABELS,
) -> list[Label]:
    """The labels of a features folder, sorted by latent, method, measure; empty without a file."""
    path = features_folder(folder) / name
    if not path.exists():
        return []
    rows = read_table(path, list(COLUMNS), remedy=REMEDY).to_pylist()
    try:
        labels = [Label(**{**row, "detail": json.loads(row["detail"] or "{}")}) for row in rows]
    except ValueError as problem:
        raise IsthmusError(f"{path} is damaged ({problem}): {REMEDY}") from problem
    return [
        label
        for label in labels
        if (method is None or label.method == method) and (metric is None or label.metric == metric)
    ]


def _cell(label: Label, column: str) -> Any:
    value = getattr(label, column)
    if column == "detail":
        return json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    if column == "score" and value is not None and not math.isfinite(value):
        return None
    return value
