"""Random numbers that belong to a place in the text, so that nothing depends on the batches."""

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def mixed(*parts: np.ndarray | int) -> np.ndarray:
    """A uint64 for each element that looks random: SplitMix64 (Steele et al. 2014), chained."""
    state = np.zeros(1, np.uint64)
    for part in parts:
        given = np.atleast_1d(np.asarray(part)).astype(np.int64).view(np.uint64)
        state = _finished((state ^ given) + _STEP)
    return state


def _finished(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * _FACTORS[0]
    x = (x ^ (x >> np.uint64(27))) * _FACTORS[1]
    return x ^ (x >> np.uint64(31))


def split_of(row: np.ndarray, seed: int) -> np.ndarray:
    """0 for rows that an explainer may see, 1 for rows to score it on; int8, half of each."""
    return (mixed(seed, 1, row) >> np.uint64(63)).astype(np.int8)
