"""Randomness as a function of (seed, step), so that resuming needs no stored generator state."""

import torch

from isthmus.anatomy.randomness import drawing

_MASK = (1 << 64) - 1


def mix(*parts: int) -> int:
    """A 63-bit seed from several integers (SplitMix64, Steele et al. 2014)."""
    state = 0
    for part in parts:
        state = (state + 0x9E3779B97F4A7C15 + (part & _MASK)) & _MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        state = z ^ (z >> 31)
    return state >> 1


def seeded(device: torch.device, *parts: int) -> drawing:
    """A block in which a run on ``device`` draws, as a function of ``parts`` alone."""
    return drawing(device, mix(*parts))
