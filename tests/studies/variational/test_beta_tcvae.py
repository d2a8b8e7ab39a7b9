"""What is compared at the same error, and the encoder whose terms are known."""

import numpy as np
import pytest

from isthmus.studies.variational.beta_tcvae import CORRELATION, UNIFORM, _above, _gaussian, _grid


def figures(mig):
    """A beta-VAE whose MIG rises from 0 to 0.3 with its error from 1 to 4."""
    plain = {
        arm: {"mse": 1.0 + i, "mig": 0.1 * i, "total_correlation": 1.0 - 0.1 * i}
        for i, arm in enumerate(("vae", *UNIFORM))
    }
    weighted = {
        arm: {"mse": error, "mig": value}
        for arm, error, value in zip(CORRELATION, (0.5, 2.5, 9.0), mig, strict=True)
    }
    return {**plain, **weighted, "shuffled": {"mig": 0.0}}


def test_measures_are_compared_at_the_same_error():
    # The beta-VAE has 0 at the error 0.5 (its end), 0.15 at 2.5, and 0.3 at 9 (its other end).
    assert _above("mig")(figures((0.5, 0.25, 0.3))) == pytest.approx(0.1)
    assert _above("mig")(figures((0.0, 0.15, 0.3))) == pytest.approx(0.0)
    assert _above("mig", shuffled=True)(figures((0.5, 0.25, 0.3))) == pytest.approx(-0.15)


def test_the_terms_of_a_gaussian_encoder_are_the_known_ones():
    found = _gaussian(3)
    assert found["error"] < 0.05
    # KL(N(a x, s^2) || N(0, 1)) averaged over x from N(0, 1).
    assert found["kl"] == pytest.approx(0.5 * (1.5**2 + 0.5**2 - 1.0 - np.log(0.5**2)))
    assert found["total_correlation"] == pytest.approx(0.0, abs=1e-9)
    # Minibatch-weighted sampling is low by the logarithm of the size of the data set.
    assert found["error_weighted"] > 1.0


def test_the_grid_holds_every_combination_once():
    images, factors = _grid()
    assert len(images) == len(np.unique(factors, axis=0)) == 3 * 6 * 10 * 10
    # Some neighbouring sizes and places look alike at this size, as the study's setting says.
    assert len(np.unique(images.numpy().reshape(len(images), -1), axis=0)) == 1392
