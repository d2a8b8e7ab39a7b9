"""What studies of several kinds of dictionary share: figures at equal sparsity."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import isthmus
from isthmus.evaluation import Shrinkage, fvu
from isthmus.runs import DataLike

ASKED = {"relu-l1": "l0", "gated": "l0", "topk": "k", "batchtopk": "k", "jumprelu": "l0"}
"""How each kind is told its sparsity: the recipe's option."""


def variants(kinds: Mapping[str, float], levels: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Options for ``fit_many``: each kind, with its learning rate, at each number of latents."""
    return {
        f"{kind} {level}": {
            "recipe": kind,
            ASKED[kind]: level if ASKED[kind] == "k" else float(level),
            "lr": lr,
        }
        for kind, lr in kinds.items()
        for level in levels
    }


def at_equal(l0: Sequence[float], values: Sequence[float], wanted: float) -> float:
    """The value at the L0 ``wanted``, from values at other L0: straight lines in the logarithms.

    Beyond either end the line of the two nearest goes on. Levels with the same L0 count once.
    """
    x, first = np.unique(np.log(np.maximum(l0, 1e-9)), return_index=True)
    y = np.log(np.asarray(values, np.float64)[first])
    if len(x) == 1:
        return math.exp(y[0])
    right = min(max(int(np.searchsorted(x, math.log(wanted))), 1), len(x) - 1)
    slope = (y[right] - y[right - 1]) / (x[right] - x[right - 1])
    return math.exp(y[right - 1] + slope * (math.log(wanted) - x[right - 1]))


def off_target(l0: Sequence[float], levels: Sequence[int]) -> float:
    """The largest relative difference between an L0 and the one that was asked for."""
    return max(abs(found / level - 1.0) for found, level in zip(l0, levels, strict=True))


def moved_at_random(model: isthmus.Autoencoder, held: np.ndarray, seed: int) -> dict[str, float]:
    """FVU and shrinkage with a dictionary's own values, moved to latents drawn at random."""
    z = np.asarray(model.encode(held))
    moved = np.asarray(model.decode(np.random.default_rng(seed).permuted(z, axis=1)))
    shrinkage = Shrinkage(held.mean(0)).update(held, moved).factor()
    return {"fvu": fvu(held, moved).value, "shrinkage": shrinkage.value}


def measured(model: isthmus.Autoencoder, held: DataLike) -> dict[str, float]:
    """FVU, L0, dead share and the two figures of lengths, on held-out rows."""
    found = isthmus.evaluate(model, held)
    names = ("fvu", "l0", "dead_share", "shrinkage", "norm_ratio")
    return {name: found[name].value for name in names}
