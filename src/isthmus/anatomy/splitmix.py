"""SplitMix64 (Steele, Lea, Flood 2014): integers that look random, of integers."""

import numpy as np

STEP = 0x9E3779B97F4A7C15
"""The odd number by which the state of the generator goes on: 2^64 over the golden ratio."""
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""The factors of the finaliser."""
MASK = (1 << 64) - 1


def finished(state: int) -> int:
    """The finaliser, of one number below 2^64."""
    state = ((state ^ (state >> 30)) * FIRST) & MASK
    state = ((state ^ (state >> 27)) * SECOND) & MASK
    return state ^ (state >> 31)


def finished_array(state: np.ndarray) -> np.ndarray:
    """The finaliser, of every element of a uint64 array."""
    bits = (state ^ (state >> np.uint64(30))) * np.uint64(FIRST)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(SECOND)
    bits ^= bits >> np.uint64(31)
    return bits


def mix(*parts: int) -> int:
    """A 63-bit seed from several integers."""
    state = 0
    for part in parts:
        state = finished((state + STEP + (part & MASK)) & MASK)
    return state >> 1
