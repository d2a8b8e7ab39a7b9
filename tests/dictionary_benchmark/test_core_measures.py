"""Core measures against closed forms and a few lines that compute the same."""

import numpy as np
import pytest

from isthmus.dictionary_benchmark.benchmark_figures import over_units
from isthmus.dictionary_benchmark.core_measures import CoreMeasures, summed
from isthmus.evaluation import fvu
from isthmus.interpretation import behaviour

from .planted_host import POINT, ground, host, random, true


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    model = host()
    return model, ground(tmp_path_factory.mktemp("core"), [], model)


def value(outcome, name):
    about = next(one for one in CoreMeasures.measures if one.name == name)
    return over_units(about, outcome.figures[name], "documents").value


def test_the_true_dictionary_rebuilds_all_with_one_latent(world):
    outcome = CoreMeasures().run(true(world[0]), world[1], 0)
    assert value(outcome, "l0") == 1.0
    assert value(outcome, "fvu") == pytest.approx(0.0, abs=1e-9)
    assert value(outcome, "cosine") == pytest.approx(1.0)
    for name in ("ce_score", "ce_score_mean"):
        assert value(outcome, name) == pytest.approx(1.0, abs=1e-5)
    assert value(outcome, "added_ce") == pytest.approx(0.0, abs=1e-6)


def test_numbers_are_those_of_the_measures_that_stand(world):
    model, place = world
    one = random()
    outcome = CoreMeasures().run(one, place, 0)
    running = place.running(POINT, 0)
    assert value(outcome, "fvu") == pytest.approx(fvu(running.x, one.rebuilt(running.x)).value)
    losses = behaviour(model, POINT, one.model, running.tokens, draws=0)
    for mine, other in (
        ("ce_score", "loss_recovered_zero"),
        ("ce_score_mean", "loss_recovered_mean"),
        ("added_ce", "added_ce"),
    ):
        assert value(outcome, mine) == pytest.approx(losses[other].value, rel=1e-5)
    codes = one.codes(running.x).toarray()
    assert value(outcome, "l0") == pytest.approx((codes != 0).sum(1).mean())
    assert value(outcome, "dead_share") == (codes == 0).all(0).mean()


def test_the_variance_is_about_the_mean_of_the_whole_text_and_not_of_a_token():
    """An activation far from zero: SAEBench's total variance would be scale-dependent."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)) + 100.0
    recon = x + 0.1
    error, spread = np.square(x - recon).sum(1), np.square(x - x.mean(0)).sum(1)
    parts = summed(error, spread, np.zeros(50, dtype=np.int64), ["text"])
    about = next(one for one in CoreMeasures.measures if one.name == "fvu")
    assert over_units(about, parts, "documents").value == pytest.approx(fvu(x, recon).value)


def test_sums_are_by_document():
    parts = summed(np.array([1.0, 2.0, 3.0]), np.ones(3), np.array([0, 2, 2]), ["a", "b", "c"])
    assert parts == {"a": (1.0, 1.0), "c": (5.0, 2.0)}
    alike = summed(np.array([1.0, 2.0, 3.0]), np.ones(3), np.array([0, 1, 2]), ["a", "b", "a"])
    assert alike == {"a": (4.0, 2.0), "b": (2.0, 1.0)}
