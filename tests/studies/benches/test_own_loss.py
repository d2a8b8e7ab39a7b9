"""A model's own objective on held-out rows."""

import numpy as np
import pytest

import isthmus
from isthmus.studies.benches.own_loss import ROWS_AT_ONCE, own_loss


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).random((600, 6), dtype=np.float32)


def fitted(recipe, rows, **options):
    return isthmus.fit(
        recipe, rows, steps=30, latent_dim=2, network="mlp", hidden=(8,), progress=False,
        scaling="none", **options,
    )  # fmt: skip


def test_of_a_plain_autoencoder_it_is_the_squared_error_of_whole_batches(rows):
    model = fitted("plain", rows)
    counted = rows[: 2 * ROWS_AT_ONCE]
    error = np.square(np.asarray(model.reconstruct(counted)) - counted).mean()
    assert own_loss(model, rows, 0) == pytest.approx(error, rel=1e-5)
    few = np.square(np.asarray(model.reconstruct(rows[:10])) - rows[:10]).mean()
    assert own_loss(model, rows[:10], 0) == pytest.approx(few, rel=1e-5)


def test_draws_are_the_seeds_and_schedules_are_at_their_end(rows):
    model = fitted("beta-vae", rows, capacity=3.0, gamma=1e4, capacity_steps=10)
    assert own_loss(model, rows, 1) == own_loss(model, rows, 1)
    assert own_loss(model, rows, 1) != own_loss(model, rows, 2)
    kl = isthmus.evaluate(model, rows[: 2 * ROWS_AT_ONCE], samples=1)["kl"].value
    # All but a few nats is gamma times the distance of the KL from the final capacity.
    assert own_loss(model, rows, 1) == pytest.approx(1e4 * abs(kl - 3.0), rel=0.05)
