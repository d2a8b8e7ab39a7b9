"""Randomness as a function of (seed, step), so that resuming needs no stored generator state."""

import torch

from isthmus.anatomy.randomness import drawing
from isthmus.anatomy.splitmix import mix

__all__ = ["mix", "seeded"]


def seeded(device: torch.device, *parts: int) -> drawing:
    """A block in which a run on ``device`` draws, as a function of ``parts`` alone."""
    return drawing(device, mix(*parts))
