import numpy as np
import pytest

from isthmus import IsthmusError
from isthmus.evaluation.disentanglement import factor_vae_score

from .grids import grid, noise, rotated


def test_one_latent_stands_for_one_factor_only():
    factors = grid(3, 4, 5, repeats=2)
    assert factor_vae_score(factors[:, 0], factors).value == pytest.approx(1 / 3, abs=0.06)
    two = factor_vae_score(factors[:, :2], factors)
    assert two.value == pytest.approx(2 / 3, abs=0.06)
    assert sorted(two.per.round(1)) == [0, 1, 1]


def test_a_rotation_of_two_factors_is_chance():
    factors = grid(4, 4, repeats=5)
    assert factor_vae_score(rotated(factors), factors).value == pytest.approx(0.5, abs=0.08)


def test_the_score_is_the_share_of_right_votes():
    # Fixing the binary factor leaves exactly one of two latents still; the other factor, with the
    # first latent's spread of 4 : 1 for its values, is decided by the same latent in half the rows.
    factors = grid(2, 2, repeats=20)
    spread = np.where(factors[:, 1] == 0, 1.0, 0.0)
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=(80, 2))
    codes = np.stack([factors[:, 0], x[:, 0] * spread + x[:, 1] * (1 - spread) * 1e-3], axis=1)
    got = factor_vae_score(codes, factors, group_size=30, n_votes=2000)
    # Second factor at 1: the second latent is nearly still. At 0 it varies twice its variance,
    # and the first latent is as spread as ever: a vote for the first latent, which is wrong.
    np.testing.assert_allclose(got.per, [1, 0.5], atol=0.05)
    assert got.value == pytest.approx(0.75, abs=0.04)


def test_scale_does_not_matter_and_still_latents_are_left_out():
    factors = grid(3, 4, repeats=6)
    scaled = factors * 1e-4
    assert factor_vae_score(scaled, factors).value == 1
    still = np.concatenate([factors, 1e-3 * noise(72, 1)], axis=1)
    got = factor_vae_score(still, factors)
    assert got.value == 1
    assert "1 latents that hardly vary left out" in got.note


def test_continuous_factors_are_shared_by_bins():
    factors = np.random.default_rng(0).uniform(size=(600, 2))
    assert factor_vae_score(-(factors**3), factors).value > 0.98


def test_a_factor_that_no_rows_share_is_left_out():
    factors = np.stack([np.arange(40), np.arange(40) % 2], axis=1)
    got = factor_vae_score(noise(40), factors)
    assert np.isnan(got.per[0])
    assert "never shared" in got.note


def test_blocks_change_nothing(monkeypatch):
    from isthmus.evaluation.disentanglement import factor_vae

    factors = grid(3, 4, repeats=6)
    codes = factors + noise(72, 2)
    whole = factor_vae_score(codes, factors, n_votes=50).value
    monkeypatch.setattr(factor_vae, "_BLOCK", 64 * 2 * 7)
    assert factor_vae_score(codes, factors, n_votes=50).value == whole


@pytest.mark.parametrize("setting", [{"n_votes": 0}, {"group_size": 1}])
def test_errors(setting):
    with pytest.raises(IsthmusError, match="one vote and two rows"):
        factor_vae_score(noise(9), noise(9), **setting)
