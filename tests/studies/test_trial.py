"""How much a trial does: by its budget, and while probing."""

import numpy as np

import isthmus
from isthmus.studies import Trial, fit_cache
from isthmus.studies.trial import PROBE_ROWS, PROBE_STEPS


def test_a_budget_scales_steps_to_at_least_one():
    assert Trial(1, 0.5).steps(100) == 50
    assert Trial(1, 1e-9).steps(100) == 1
    assert Trial(1, probing=True).steps(1000) == PROBE_STEPS
    assert Trial(1, probing=True).steps(7) == 7


def test_rows_are_all_there_from_a_quarter_of_the_budget():
    assert Trial(1, 0.5).rows(1000) == Trial(1, 0.25).rows(1000) == 1000
    assert Trial(1, 0.125).rows(1000) == 500
    assert Trial(1, 1e-9).rows(1000, least=30) == 30
    assert Trial(1, 1e-9).rows(20, least=30) == 20
    assert Trial(1, probing=True).rows(10**6) == PROBE_ROWS


def test_rates_are_the_arms_own():
    assert Trial(1, rates={"a": 0.1}).rate("a", 1.0) == 0.1
    assert Trial(1, rates={"a": 0.1}).rate("b", 1.0) == 1.0


ROWS = np.random.default_rng(0).standard_normal((64, 6)).astype(np.float32)
SMALL = {"latent_dim": 2, "hidden": 4, "batch_size": 16, "lr": 1e-3}


def test_a_fit_is_that_of_the_library():
    found = Trial(3).fit("plain", ROWS, steps=5, **SMALL)
    wanted = isthmus.fit("plain", ROWS, steps=5, seed=3, progress=False, **SMALL)
    assert fit_cache.weights_hash(found) == fit_cache.weights_hash(wanted)


def test_a_probe_records_every_fit():
    trial = Trial(0, probing=True)
    trial.fit("plain", ROWS, steps=500, **SMALL)
    trial.fit_many({"a": {"recipe": "plain"}, "b": {"recipe": "vae"}}, ROWS, steps=500, **SMALL)
    assert len(trial.recorded) == 3
    again = Trial(0, probing=True)
    again.fit("plain", ROWS, steps=PROBE_STEPS, **SMALL)
    assert again.recorded == trial.recorded[:1]
