"""Random numbers that are functions of a counter: any of them, in any order, without a state."""

import numpy as np

from isthmus.anatomy.splitmix import STEP, finished_array


def mix(counter: np.ndarray) -> np.ndarray:
    """Hash uint64 counters to uint64 bits by SplitMix64."""
    return finished_array(counter * np.uint64(STEP))


def bits(seed: int, stream: int, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Random uint64 for every (row, column), broadcast; streams of one seed are independent."""
    key = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)
    # Rows are hashed before columns are added, so that neighbouring rows share no counters.
    return mix(mix(row.astype(np.uint64) ^ key) + column.astype(np.uint64))


def uniform(random: np.ndarray) -> np.ndarray:
    """Float64 strictly between 0 and 1 from random bits."""
    return ((random >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(random: np.ndarray) -> np.ndarray:
    """Standard normal float64 from random bits, by the inverse distribution function."""
    return inverse_normal(uniform(random))


def inverse_normal(share: np.ndarray) -> np.ndarray:
    """The standard normal value below which that share lies."""
    from scipy.special import ndtri

    quantile: np.ndarray = ndtri(share)
    return quantile


def threshold(probability: np.ndarray) -> np.ndarray:
    """The uint64 below which random bits fall with that probability."""
    return np.minimum(probability, 1.0 - 2.0**-53).__mul__(2.0**64).astype(np.uint64)
