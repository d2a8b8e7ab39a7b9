import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from isthmus.networks import Dictionary
from isthmus.studies.sparse.mdl_sae import (
    GRID,
    MADE_GRID,
    TRUTHS,
    _interior,
    _octaves_off,
    _reaching,
    _small,
    _spread,
)


def test_an_inner_minimum_is_measured_against_the_better_end():
    values = dict(zip(GRID, (50.0, 40.0, 44.0, 80.0), strict=True))
    assert _interior({f"bits_w{w}": v for w, v in values.items()}, "bits") == 0.8
    falling = {f"l0_w{w}": 1.0 / w for w in GRID}
    assert _interior(falling, "l0") == max(GRID) / 512


def test_the_best_width_is_compared_with_the_truth_in_octaves():
    assert TRUTHS in MADE_GRID
    figures = {f"bits_w{width}": 10.0 + abs(width - TRUTHS) for width in MADE_GRID}
    assert _octaves_off(figures, "bits") == 0
    figures[f"bits_w{4 * TRUTHS}"] = 1.0
    assert _octaves_off(figures, "bits") == 2
    figures[f"bits_w{4 * TRUTHS}"] = math.nan  # it never reached the distortion
    assert _octaves_off(figures, "bits") == 0


def test_the_l0_at_the_cap_is_interpolated():
    tried = [SimpleNamespace(fvu=f, l0=k) for k, f in ((4.0, 0.4), (8.0, 0.2), (16.0, 0.1))]
    assert _reaching(tried, 0.25) == pytest.approx(7.0)
    assert _reaching(tried, 0.1) == 16.0
    assert _reaching(tried, 0.5) == 4.0
    assert math.isnan(_reaching(tried, 0.05))


def test_images_shrink_to_means_of_blocks():
    images = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28)
    got = _small(images)
    assert got.shape == (2, 196)
    assert got.dtype == np.float32
    assert got[1, 15] == pytest.approx(images[1, 2:4, 2:4].mean() / 255)


def test_the_spread_of_atoms_counts_pixels():
    atoms = torch.stack([torch.eye(9)[0], torch.full((9,), -1 / 3)])
    dictionary = Dictionary(2, (9,))
    dictionary.weight.data = atoms
    model = SimpleNamespace(decoder=dictionary)
    assert _spread(model) == pytest.approx((1 + 9) / 2)
