"""Scenes of nine small images, of which it is known what is where."""

from dataclasses import dataclass

import numpy as np

SIDE = 3
"""Tiles along either side of a scene."""
TIMES = 3
"""How often the main class is there; each other class is there once at most."""
EMPTY = 2
"""Tiles in which nothing is."""


@dataclass(frozen=True)
class Scenes:
    """Scenes and their truth.

    ``pixels`` float32 ``(scenes, 1, 3 * side, 3 * side)``; ``tiles`` int64 ``(scenes, 3, 3)`` is
    the class in each tile, -1 in an empty one; ``main`` int64 ``(scenes,)`` the class that is there
    three times.
    """

    pixels: np.ndarray
    tiles: np.ndarray
    main: np.ndarray

    def masks(self, classes: int, patches: int) -> np.ndarray:
        """Where each class is, bool ``(scenes, classes, height, width)`` in patches.

        ``patches`` lie along a side of a tile.
        """
        inside = self.tiles[:, None] == np.arange(classes)[:, None, None]
        return inside.repeat(patches, 2).repeat(patches, 3)


def tiled(images: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> Scenes:
    """``count`` scenes of images ``(rows, 1, side, side)`` with labels from 0 on.

    A scene shows a main class in three tiles, by three images, four other classes in one tile each,
    and two tiles of zeros, in any order.
    """
    classes = int(labels.max()) + 1
    by_class = [np.flatnonzero(labels == one) for one in range(classes)]
    others = SIDE**2 - TIMES - EMPTY
    drawn = rng.random((count, classes)).argsort(1)[:, : others + 1]
    main = drawn[:, 0]
    tiles = np.hstack(
        [np.repeat(main[:, None], TIMES, 1), drawn[:, 1:], np.full((count, EMPTY), -1)]
    )
    tiles = rng.permuted(tiles, axis=1)
    side = images.shape[-1]
    pixels = np.zeros((count, SIDE**2, side, side), np.float32)
    for one, rows in enumerate(by_class):
        at = np.nonzero(tiles == one)
        pixels[at] = images[rng.choice(rows, len(at[0])), 0]
    grid = pixels.reshape(count, SIDE, SIDE, side, side).transpose(0, 1, 3, 2, 4)
    whole = grid.reshape(count, 1, SIDE * side, SIDE * side)
    return Scenes(np.ascontiguousarray(whole), tiles.reshape(count, SIDE, SIDE), main)
