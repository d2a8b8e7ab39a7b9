"""Labels as data: one row for each latent, method and measure, in ``labels.parquet``."""

import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.runs import write_atomically

LABELS, CONTROLS = "labels.parquet", "controls.parquet"
"""Names of the files of labels, and of scores that labels of other latents get."""

COLUMNS = ("latent", "label", "method", "score", "metric", "examples", "detail")


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
    pa, pq = _arrow()
    rows = [every[key] for key in sorted(every)]
    kinds = [pa.int32(), pa.string(), pa.string(), pa.float32(), pa.string(), pa.int32()]
    columns = {
        name: pa.array([_cell(row, name) for row in rows], type=kind)
        for name, kind in zip(COLUMNS, [*kinds, pa.string()], strict=True)
    }
    memory = io.BytesIO()
    pq.write_table(pa.table(columns), memory)
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
    _, pq = _arrow()
    try:
        found = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
    except (OSError, ValueError, KeyError) as problem:
        raise IsthmusError(
            f"cannot read {path} as a table of labels ({problem}): delete it and label again"
        ) from None
    labels = [Label(**{**row, "detail": json.loads(row["detail"] or "{}")}) for row in found]
    return [
        label
        for label in labels
        if (method is None or label.method == method) and (metric is None or label.metric == metric)
    ]


def features_folder(folder: str | Path) -> Path:
    """The folder with the features: ``folder`` itself, or ``features`` in the folder of a run."""
    folder = Path(folder)
    for place in (folder, folder / "features"):
        if (place / "examples.parquet").exists():
            return place
    raise IsthmusError(
        f"{folder} has no features (features/examples.parquet): isthmus report {folder} finds "
        "those of a dictionary on a language model's activations"
    )


def _cell(label: Label, column: str) -> Any:
    value = getattr(label, column)
    if column == "detail":
        return json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    if column == "score" and value is not None and not math.isfinite(value):
        return None
    return value


def _arrow() -> tuple[Any, Any]:
    """pyarrow and its module for Parquet."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("pyarrow", "tables", "reading and writing features") from None
    return pyarrow, parquet
