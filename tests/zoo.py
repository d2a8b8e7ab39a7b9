"""Every recipe in a small size, for tests that must hold for all of them."""

from functools import cache
from typing import Any

import numpy as np

from isthmus.anatomy import Autoencoder
from isthmus.recipes import Recipe, get_recipe, recipes
from isthmus.testing.small import IMAGES, SMALL, VECTORS, Case, case, repeated, sha

__all__ = ["IMAGES", "NAMES", "SMALL", "VECTORS", "build", "repeated", "sha", "small"]

NAMES = [name for name, found in recipes().items() if found.builtin]


@cache
def _case(name: str) -> Case:
    return case(get_recipe(name))


def small(name: str) -> tuple[dict[str, Any], np.ndarray]:
    """Options of a small model of that recipe, and rows that it reads."""
    found = _case(name)
    return dict(found.options), found.rows


def build(name: str, seed: int = 0) -> tuple[Autoencoder, Recipe, np.ndarray]:
    """An untrained small model, its recipe and its rows; the model is prepared on them."""
    found = _case(name)
    return found.build(seed), found.recipe, found.rows
