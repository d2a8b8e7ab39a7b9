"""The grid of sprites, and measures of codes whose factors are known."""

import numpy as np
import pytest
import torch

from isthmus.anatomy import GaussianCode
from isthmus.data import Sprites
from isthmus.studies import Ground, Trial
from isthmus.studies.benches import factors as bench
from isthmus.studies.benches.factors import (
    FINER,
    SIDE,
    drawn,
    explained,
    factors,
    grid,
    true_factors,
)


def test_the_grid_is_full_and_all_its_images_differ():
    images, levels = grid((0, 2), 3, 4, 5)
    assert images.shape == (2 * 3 * 4 * 5 * 5, 1, SIDE, SIDE)
    assert [len(np.unique(column)) for column in levels.T] == [2, 3, 4, 5, 5]
    assert len(np.unique(levels, axis=0)) == len(levels)
    hearts = images[levels[:, 0] == 2]  # a square looks the same after quarter of a turn
    assert len(np.unique(hearts.reshape(len(hearts), -1), axis=0)) == len(hearts)
    assert (images.min(), images.max()) == (0.0, 1.0)


def test_a_pixel_is_the_mean_of_finer_ones_and_what_is_fixed_is_no_factor():
    images, levels = grid((2,), 2, 1, 3)
    assert levels.shape == (18, 3)
    source = Sprites(FINER * SIDE)
    row = torch.tensor([[2, int(levels[7, 0]), 0, int(levels[7, 1]), int(levels[7, 2])]])
    fine = source.render(source.index(row))[0]
    blocks = fine.reshape(SIDE, FINER, SIDE, FINER).mean((1, 3))
    np.testing.assert_allclose(images[7, 0], blocks)


def test_the_bench_holds_rows_out_that_are_not_fitted_to():
    held = factors(places=6, scales=2, held=50).open(Trial(1))
    assert (len(held.rows), len(held.held), held.known["names"]) == (
        166, 50, ("shape", "scale", "x", "y")
    )  # fmt: skip
    together = np.concatenate([held.rows, held.held]).reshape(216, -1)
    assert len(np.unique(together, axis=0)) == 216
    whole = factors(places=6, scales=2).open(Trial(1))
    assert whole.rows is whole.held
    assert len(whole.known["factors"]) == 216


class Fake:
    """A subject whose code is the rows themselves, with one standard deviation."""

    def __init__(self, deviation):
        self.logvar = 2.0 * np.log(deviation)

    def encode(self, rows, code=False):
        rows = torch.from_numpy(rows)
        return GaussianCode(rows, rows, torch.full_like(rows, self.logvar)) if code else rows


def test_noise_hides_what_the_means_show(monkeypatch):
    monkeypatch.setattr(bench, "Autoencoder", Fake)
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((4000, 2))
    truth = np.stack([rows[:, 0] - 3.0, rng.standard_normal(4000)], axis=1)
    np.testing.assert_allclose(explained(drawn(Fake(1e-3), rows, 0), truth), [1, 0], atol=1e-2)
    np.testing.assert_allclose(explained(drawn(Fake(1.0), rows, 0), truth)[0], 0.5, atol=0.05)


def test_true_factors_are_perfectly_disentangled():
    made = factors(places=6, scales=3)
    ground = made.open(Trial(1))
    truth = true_factors().make({}, ground, Trial(1))
    found = made.measured(truth, ground, ("mig", "mig_posterior", "infomec"))
    assert found["mig"] == pytest.approx(1.0)
    assert found["mig_posterior"] == pytest.approx(1.0, abs=0.02)
    assert found["info_m"] == pytest.approx(1.0, abs=0.01)
    assert found["info_e"] > 0.99
    order = np.random.default_rng(0).permutation(len(ground.held))
    known = {**ground.known, "factors": ground.known["factors"][order]}
    others = Ground(ground.rows, ground.held, ground.seed, known)
    fixed = true_factors().make({}, ground, Trial(1))
    assert made.measured(fixed, others, ("mig_posterior",))["mig_posterior"] < 0.1
