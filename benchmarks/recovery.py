"""Planted directions that dictionaries recover, as the setting hardens.

512 unit directions in 64 dimensions, sparse positive combinations of them. A direction counts as
recovered when some decoder row has a cosine above 0.9 with it.
"""

import sys
from typing import Any

import numpy as np
from torch.nn import functional as F

import isthmus
from isthmus.anatomy import Autoencoder
from isthmus.data import Planted, PlantedSource

ROWS = 1 << 18
SETTINGS: dict[str, dict[str, Any]] = {
    "easy: 4 active, spread directions": {"active": 4.0, "geometry": "repelled"},
    "8 active": {"active": 8.0, "geometry": "repelled"},
    "16 active": {"active": 16.0, "geometry": "repelled"},
    "4 active, random directions": {"active": 4.0},
    "8 active, random directions": {"active": 8.0},
    "4 active, noise 0.05": {"active": 4.0, "geometry": "repelled", "noise": 0.05},
    "4 active, Zipf frequencies": {
        "active": 4.0, "geometry": "repelled", "frequencies": "zipf",
    },
}  # fmt: skip
RECIPES: dict[str, dict[str, Any]] = {
    "topk": {"latent_dim": 1024, "steps": 4000, "batch_size": 1024, "lr": 3e-3},
    "jumprelu": {
        "latent_dim": 1536, "steps": 7000, "batch_size": 512, "lr": 3e-3, "bandwidth": 0.45,
        "threshold": 0.25, "sparsity": 0.012, "sparsity_steps": 1000,
        "optimiser_options": {"betas": [0.9, 0.999]},
    },
}  # fmt: skip


def cosines(model: Autoencoder, planted: Planted) -> np.ndarray:
    """For each planted direction the largest cosine with a decoder row, ``(truths,)``."""
    assert model.decoder is not None
    rows = F.normalize(model.decoder.weight.detach(), dim=1).numpy()  # type: ignore[arg-type]
    return np.asarray((rows @ np.asarray(planted.directions).T).max(0))


def recover(
    recipe: str, setting: dict[str, Any], seed: int = 0, **options: Any
) -> dict[str, float]:
    """Fit ``recipe`` to a planted setting and say how much of the truth it found."""
    planted = Planted(width=64, truths=512, seed=seed, **setting)
    x, _ = planted.sample(ROWS, seed)
    chosen = {**RECIPES[recipe], **options}
    if recipe == "topk":
        chosen.setdefault("k", round(setting["active"]))
    model = isthmus.fit(recipe, x, seed=seed, progress=False, **chosen)
    found = cosines(model, planted)
    held = isthmus.evaluate(model, PlantedSource(planted, 8192, seed=seed + 1))
    return {
        "recovered": float((found > 0.9).mean()),
        "mean cosine": float(found.mean()),
        "fvu": held["fvu"].value,
        "l0": held["l0"].value,
        "dead": held["dead_share"].value,
    }


def main(names: list[str]) -> None:
    """Print one line for each setting and recipe."""
    for title, setting in SETTINGS.items():
        for recipe in names or list(RECIPES):
            figures = recover(recipe, setting)
            text = "  ".join(f"{k} {v:.3f}" for k, v in figures.items())
            print(f"{title:36} {recipe:9} {text}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
