"""Random numbers that are functions of a counter: any of them, in any order, without a state."""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(counter: np.ndarray) -> np.ndarray:
    """Hash uint64 counters to uint64 bits: the finaliser of SplitMix64 (Steele et al. 2014)."""
    bits = counter * _GOLDEN
    bits ^= bits >> np.uint64(30)
    bits *= _FIRST
    bits ^= bits >> np.uint64(27)
    bits *= _SECOND
    bits ^= bits >> np.uint64(31)
    return bits


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

    found: np.ndarray = ndtri(share)
    return found


def threshold(probability: np.ndarray) -> np.ndarray:
    """The uint64 below which random bits fall with that probability."""
    return np.minimum(probability, 1.0 - 2.0**-53).__mul__(2.0**64).astype(np.uint64)
