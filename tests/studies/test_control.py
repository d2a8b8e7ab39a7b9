"""Controls: what they leave of an arm."""

import numpy as np
import pytest

from isthmus.anatomy import linear_decoder
from isthmus.data import Planted
from isthmus.errors import IsthmusError
from isthmus.studies import Fit, Ground, Trial, control
from isthmus.studies.fit_cache import weights_hash

FIT = Fit("topk", k=3, latent_dim=24, batch_size=64, average=None)


@pytest.fixture(scope="module")
def ground():
    planted = Planted(width=12, truths=20, active=2.0, seed=0)
    return Ground(planted.sample(512, 0)[0], planted.sample(64, 1)[0], 0)


@pytest.fixture(scope="module")
def arms(ground):
    return {"topk": FIT.make("topk", ground, Trial(0), steps=30)}


def test_an_untrained_arm_is_not_moved_and_another_seed_is_another_model(arms, ground):
    still = control.untrained(FIT, "topk").make(arms, ground, Trial(0))
    again = control.untrained(FIT, "topk").make(arms, ground, Trial(0))
    assert weights_hash(still) == weights_hash(again)
    other = control.another_seed(FIT, "topk").make(arms, ground, Trial(0, shared={"steps": 30}))
    assert weights_hash(other) != weights_hash(arms["topk"])


def test_another_seed_takes_the_rate_of_its_arm(ground):
    trial = Trial(0, rates={"topk": 0.5}, shared={"lr": 1.0})
    assert FIT.wanted("topk", ground, trial)["lr"] == 0.5
    assert FIT.wanted("other", ground, trial)["lr"] == 1.0


def test_moved_latents_keep_the_values_of_a_row(arms, ground):
    moved = control.moved_latents("topk").make(arms, ground, Trial(0))
    before, after = (np.asarray(one.encode(ground.held)) for one in (arms["topk"], moved))
    assert np.array_equal(np.sort(before, 1), np.sort(after, 1))
    assert (before != after).any(1).mean() > 0.9


def test_shuffled_codes_are_those_of_other_rows(arms, ground):
    moved = control.shuffled("topk").make(arms, ground, Trial(0))
    before, after = (np.asarray(one.encode(ground.held)) for one in (arms["topk"], moved))
    assert sorted(map(tuple, before)) == sorted(map(tuple, after))
    assert (before != after).any(1).mean() > 0.9


def test_random_rows_take_the_place_of_the_dictionary_only(arms, ground):
    before = weights_hash(arms["topk"])
    made = control.random_rows("topk").make(arms, ground, Trial(0))
    assert weights_hash(arms["topk"]) == before
    atoms = linear_decoder(made).atoms().detach().numpy()
    centred = ground.rows - ground.rows.mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert (atoms @ unit.T).max(1) == pytest.approx(np.ones(24), abs=1e-5)
    plain = Fit("plain", latent_dim=3, hidden=4, batch_size=64)
    model = plain.make("plain", ground, Trial(0), steps=2)
    with pytest.raises(IsthmusError, match="is no dictionary"):
        control.random_rows("plain").make({"plain": model}, ground, Trial(0))
