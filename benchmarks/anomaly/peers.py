"""PyOD's detectors at their defaults, in an environment of their own that has PyOD and torch.

    python peers.py results.jsonl --data FOLDER [--only VAE,PCA] [--seeds 5]

One line of JSON a fit, appended as it ends, so that the same command goes on where it was stopped.
It imports nothing of Isthmus. Every detector is fitted to all rows of a set, without labels, and
its own scores of these rows (``decision_scores_``) are judged: what PyOD's users get. Seconds are
those of the fit, which ends with these scores, by the wall and by the processor's clock.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

SEEDLESS = ("PCA", "ECOD")
"""Detectors that draw nothing: one seed is all of them."""


def detector(name: str, columns: int, seed: int):
    """The detector of that name at PyOD's defaults."""
    if name == "AutoEncoder":
        from pyod.models.auto_encoder import AutoEncoder

        return AutoEncoder(random_state=seed, verbose=0)
    if name == "VAE":
        from pyod.models.vae import VAE

        return VAE(random_state=seed, verbose=0)
    if name == "DeepSVDD":
        from pyod.models.deep_svdd import DeepSVDD

        return DeepSVDD(n_features=columns, random_state=seed, verbose=0)
    if name == "IForest":
        from pyod.models.iforest import IForest

        return IForest(random_state=seed)
    if name == "ECOD":
        from pyod.models.ecod import ECOD

        return ECOD()
    if name == "PCA":
        from pyod.models.pca import PCA

        return PCA(random_state=seed)
    raise SystemExit(f"no detector is named {name!r}")


def fitted(name: str, x: np.ndarray, y: np.ndarray, seed: int) -> dict:
    """The figures of one fit; where the detector fails, its error in their place."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (what some of the detectors draw from)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = np.asarray(detector(name, x.shape[1], seed).fit(x).decision_scores_)
    except Exception as problem:
        return {"error": f"{type(problem).__name__}: {problem}"[:200]}
    spent = time.perf_counter() - wall, time.process_time() - cpu
    lost = int((~np.isfinite(scores)).sum())
    scores = np.nan_to_num(scores.astype(np.float64), nan=0.0, posinf=1e300, neginf=-1e300)
    return {
        "auroc": float(roc_auc_score(y, scores)),
        "average_precision": float(average_precision_score(y, scores)),
        "seconds": spent[0],
        "cpu_seconds": spent[1],
        "not_finite": lost,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="5", help="how many, or a list: 3,4")
    parser.add_argument("--only", default="PCA,ECOD,IForest,AutoEncoder,VAE,DeepSVDD")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = set()
    if options.results.exists():
        for line in options.results.read_text().splitlines():
            record = json.loads(line)
            done.add((record["data"], record["method"], record["seed"]))
    sets = {}
    for path in sorted(options.data.glob("*.npz")):
        with np.load(path) as kept:
            sets[path.stem] = (kept["X"].astype(np.float64), kept["y"])
    names = sorted(sets, key=lambda name: sets[name][0].size)
    chosen = options.seeds.split(",")
    seeds = [int(s) for s in chosen] if len(chosen) > 1 else range(int(chosen[0]))
    for seed in seeds:
        for method in options.only.split(","):
            for name in names:
                if (name, method, seed) in done or (seed and method in SEEDLESS):
                    continue
                record = {
                    "data": name,
                    "method": method,
                    "seed": seed,
                    **fitted(method, *sets[name], seed),
                }
                with options.results.open("a") as out:
                    out.write(json.dumps(record) + "\n")
                print(record, flush=True)


if __name__ == "__main__":
    main()
