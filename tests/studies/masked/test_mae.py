"""What fine-tuning does to an encoder, and whose time the clock takes."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import isthmus
from isthmus.studies import Ground, Trial, get_claim
from isthmus.studies.masked.mae import CLOCK, FEATURES, _timed, fine_tuned


@pytest.fixture(scope="module")
def ground():
    found = load_digits()
    rows = (found.images / 16.0).astype(np.float32)[:, None]
    known = {"labels": found.target[:300], "truth": found.target[1200:]}
    return Ground(rows[:1200], rows[1200:], 0, known)


def small(ground, **options):
    return isthmus.fit(
        "mae", ground.rows, patch=4, latent_dim=32, depth=1, heads=2, decoder_width=16,
        decoder_depth=1, steps=1, lr=1e-12, batch_size=32, seed=0, progress=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("tokens", ["decoder", "encoder"])
def test_fine_tuning_learns_the_classes_and_leaves_the_model_alone(ground, tokens):
    model = small(ground, mask_tokens=tokens)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert fine_tuned(model, ground, steps=1, rate=1e-9) < 0.3
    assert fine_tuned(model, ground, steps=120, rate=1e-2) > 0.7
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_shuffled_labels_teach_nothing(ground):
    mixed = np.random.default_rng(0).permutation(ground.known["labels"])
    other = Ground(ground.rows, ground.held, 0, {**ground.known, "labels": mixed})
    assert fine_tuned(small(ground), other, steps=120, rate=1e-2) < 0.25


def test_every_arm_is_timed_or_has_features():
    assert set(CLOCK) | set(FEATURES) | {"scratch"} == set(get_claim("mae").arms)


@pytest.mark.slow
def test_half_of_the_blocks_take_less_time():
    rows = np.random.default_rng(0).random((32, 1, 28, 28), dtype=np.float32)
    found = _timed(rows, Trial(0, probing=True))
    assert found["half"] < 0.8 * found["encoder-tokens"]
