"""Recipes of this library on the same sets and in the same way as PyOD's detectors.

    python -m benchmarks.anomaly.ours results.jsonl [--only trimmed-linear-vae,plain] [--seeds 5]

One line of JSON a fit, as :mod:`benchmarks.anomaly.peers` writes them. A recipe is fitted to all
rows of a set, without labels, at its defaults, and its ``score`` of these rows is judged. Seconds
are those of the fit and of the scores.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

import isthmus

RECOMMENDED = "trimmed-linear-vae"
"""The recipe that the documentation recommends for anomalies."""

SEEDLESS = (RECOMMENDED,)


def sets(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The sets by name, the smallest first."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as kept:
            found[path.stem] = (kept["X"].astype(np.float32), kept["y"])
    return dict(sorted(found.items(), key=lambda item: item[1][0].size))


def fitted(recipe: str, x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, float]:
    """The figures of one fit."""
    wall, cpu = time.perf_counter(), time.process_time()
    model = isthmus.fit(recipe, x, seed=seed, progress=False)
    scores = -np.asarray(model.score(x), np.float64)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "auroc": float(roc_auc_score(y, scores)),
        "average_precision": float(average_precision_score(y, scores)),
        "seconds": spent[0],
        "cpu_seconds": spent[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", default=f"{RECOMMENDED},plain,vae,pae")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=None, help="by default the shared sets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = sets(options.data or Path(os.environ["ISTHMUS_DATA"]) / "tabular" / "adbench")
    done = set()
    if options.results.exists():
        records = map(json.loads, options.results.read_text().splitlines())
        done = {(r["data"], r["method"], r["seed"]) for r in records}
    x, y = next(iter(found.values()))
    fitted(RECOMMENDED, x, y, 0)  # what is imported at the first fit is no part of its seconds
    for seed in range(options.seeds):
        for recipe in options.only.split(","):
            for name, rows in found.items():
                if (name, recipe, seed) in done or (seed and recipe in SEEDLESS):
                    continue
                record = {"data": name, "method": recipe, "seed": seed}
                record.update(fitted(recipe, *rows, seed))
                with options.results.open("a") as out:
                    out.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
