"""The table of anomaly detection in docs/anomalies.md, from the results that are kept.

    python -m benchmarks.anomaly [RESULTS.jsonl ...]

Results are those of :mod:`benchmarks.anomaly.peers` and :mod:`benchmarks.anomaly.ours`, by default
the files beside this one.
"""

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.anomaly.ours import RECOMMENDED

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "anomalies.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
ORDER = (
    RECOMMENDED, "vae", "pae", "plain", "AutoEncoder", "VAE", "DeepSVDD", "PCA", "IForest", "ECOD",
)  # fmt: skip
TITLES = {
    "AutoEncoder": "PyOD AutoEncoder",
    "VAE": "PyOD VAE",
    "DeepSVDD": "PyOD DeepSVDD",
    "PCA": "PyOD PCA",
    "IForest": "isolation forest",
    "ECOD": "ECOD",
}

Results = dict[str, dict[str, list[dict[str, Any]]]]
"""Records by method and set, one a seed."""


def read(paths: Iterable[Path]) -> Results:
    """The records of all files; what failed is left out."""
    found: Results = defaultdict(lambda: defaultdict(list))
    for path in paths:
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if "error" not in record:
                found[record["method"]][record["data"]].append(record)
    return found


def mean(results: dict[str, list[dict[str, Any]]], measure: str, sets: Iterable[str]) -> float:
    """The mean over sets of the mean over seeds."""
    return statistics.fmean(
        statistics.fmean(record[measure] for record in results[name]) for name in sets
    )


def summed(results: dict[str, list[dict[str, Any]]], measure: str) -> float:
    """Seconds of one seed, over all sets."""
    return sum(statistics.fmean(r[measure] for r in records) for records in results.values())


def table(results: Results) -> str:
    """One line a method, and one a set below."""
    ours = results[RECOMMENDED]
    lines = [
        "| method | sets | seeds | AUROC | average precision | the recommended one there | "
        "processor s |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for method in ORDER:
        own = results.get(method)
        if not own:
            continue
        title = TITLES.get(method, f"`{method}`")
        least = min(len(records) for records in own.values())
        most = max(len(records) for records in own.values())
        seeds = str(most) if least == most else f"{least} to {most}"
        there = f"{mean(ours, 'auroc', own):.3f}, {mean(ours, 'average_precision', own):.3f}"
        lines.append(
            f"| {title} | {len(own)} | {seeds} | {mean(own, 'auroc', own):.3f} | "
            f"{mean(own, 'average_precision', own):.3f} | {there} | "
            f"{summed(own, 'cpu_seconds'):,.1f} |"
        )
    return "\n".join([*lines, "", *each(results)])


def each(results: Results) -> Sequence[str]:
    """AUROC and average precision of every set."""
    methods = [m for m in ORDER if results.get(m)]
    names = sorted({name for own in results.values() for name in own}, key=str.lower)
    titles = [TITLES.get(m, f"`{m}`") for m in methods]
    lines = ["| set | " + " | ".join(titles) + " |", "|---|" + "--:|" * len(methods)]
    for name in names:
        cells = []
        for method in methods:
            own = results[method].get(name)
            cells.append(
                f"{statistics.fmean(r['auroc'] for r in own):.3f} "
                f"({statistics.fmean(r['average_precision'] for r in own):.3f})"
                if own
                else ""
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    paths = [Path(word) for word in sys.argv[1:]] or sorted(HERE.glob("*.jsonl"))
    made = table(read(paths))
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}")
    print(made)


if __name__ == "__main__":
    main()
