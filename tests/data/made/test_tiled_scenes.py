"""What is said to be in a tile is what is seen there."""

import numpy as np

from isthmus.data.made.tiled_scenes import tiled

SIDE, CLASSES = 4, 7
LABELS = np.arange(70) % CLASSES
IMAGES = np.zeros((70, 1, SIDE, SIDE), np.float32)
IMAGES[:] = (LABELS + 1 + np.arange(70) / 1000)[:, None, None, None]
"""The whole part of a pixel says the class, its fraction the image."""


def test_tiles_show_their_class_and_the_main_one_is_there_three_times():
    scenes = tiled(IMAGES, LABELS, 40, np.random.default_rng(0))
    assert scenes.pixels.shape == (40, 1, 12, 12)
    assert scenes.pixels.dtype == np.float32
    order = set()
    for pixels, tiles, main in zip(scenes.pixels[:, 0], scenes.tiles, scenes.main, strict=True):
        counts = np.bincount(tiles.ravel() + 1, minlength=CLASSES + 1)
        assert counts[main + 1] == 3
        assert counts[0] == 2
        assert sorted(counts)[-3:] == [1, 2, 3]
        for row in range(3):
            for column in range(3):
                tile = pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                assert (tile.astype(int) == tiles[row, column] + 1).all()
                assert len(np.unique(tile)) == 1  # one image
        order.add(tuple(tiles.ravel() == main))
    assert len(order) > 20


def test_masks_are_the_tiles_in_patches():
    scenes = tiled(IMAGES, LABELS, 5, np.random.default_rng(1))
    masks = scenes.masks(CLASSES, 2)
    assert masks.shape == (5, CLASSES, 6, 6)
    for scene in range(5):
        for row in range(6):
            for column in range(6):
                there = np.flatnonzero(masks[scene, :, row, column])
                tile = scenes.tiles[scene, row // 2, column // 2]
                assert there.tolist() == ([] if tile < 0 else [tile])


def test_the_same_draws_give_the_same_scenes():
    one, two = (tiled(IMAGES, LABELS, 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.pixels, two.pixels)
