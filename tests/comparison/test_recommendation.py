"""What to take: certain where the paired interval says so, else the smallest that may be best."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from isthmus.comparison.methods import Budget
from isthmus.comparison.prepared import Prepared
from isthmus.comparison.runner import Comparison, ComparisonSettings, MethodRun
from isthmus.evaluation.intervals import paired

SIZES = {"pca": 40, "plain": 900, "vae": 1000, "untrained": 900, "data": 0}


def comparison(figures, task="reconstruct", measure="fvu"):
    """A comparison with these figures, one a seed, for each method."""
    seeds = len(next(iter(figures.values())))
    recipes = tuple(name for name in figures if name in ("plain", "vae"))
    settings = ComparisonSettings(task, recipes, seeds, Budget(1, 1, 1, 1), 2)
    runs = [
        MethodRun(name, seed, {measure: value}, SIZES[name], 0.1)
        for name, values in figures.items()
        for seed, value in enumerate(values)
    ]
    return Comparison(Prepared("rows", np.zeros((4, 2)), None, None), settings, runs)


def test_paired_intervals_are_students_t():
    x = np.random.default_rng(0).normal(size=7)
    found = paired([*x])
    expected = stats.t.interval(0.95, 6, x.mean(), stats.sem(x))
    assert (found.low, found.high) == pytest.approx(expected)
    wider = paired([*x], overlap=1 / 3)
    ratio = (wider.high - wider.low) / (found.high - found.low)
    assert ratio == pytest.approx(math.sqrt((1 / 7 + 1 / 3) * 7))
    assert paired([0.5]).high == math.inf
    assert math.isnan(paired([0.5, math.nan]).mean)


def test_splits_of_the_same_rows_are_covered_as_often_as_said():
    """Differences with the correlation that such splits have: 95 % of intervals hold the truth."""
    rng = np.random.default_rng(0)
    n, share = 5, 0.25
    correlation = share  # of two such splits: test rows by all rows (Nadeau, Bengio 2003)
    common = rng.normal(size=(1500, 1)) * math.sqrt(correlation)
    each = rng.normal(size=(1500, n)) * math.sqrt(1 - correlation)
    found = [paired([*row], share / (1 - share)) for row in common + each]
    assert np.mean([e.low <= 0 <= e.high for e in found]) == pytest.approx(0.95, abs=0.015)
    plain = [paired([*row]) for row in common + each]
    assert np.mean([e.low <= 0 <= e.high for e in plain]) < 0.9


def test_a_certain_advantage_is_named_with_its_interval_and_seeds():
    found = comparison({"vae": [0.1, 0.11, 0.1], "plain": [0.2, 0.21, 0.2], "pca": [0.9] * 3})
    taken = found.verdict
    assert taken.take == "vae"
    assert not taken.tied
    assert taken.sentence.startswith("Take vae: better than plain, the next best, by 0.1 in fvu")
    assert taken.sentence.endswith("in 3 of 3 seeds.")


def test_higher_is_better_where_the_measure_says_so():
    figures = {"vae": [0.9, 0.91, 0.9], "plain": [0.5, 0.51, 0.5], "data": [0.1] * 3}
    assert comparison(figures, "probe", "linear").verdict.take == "vae"


def test_of_those_that_cannot_be_told_apart_the_smallest_is_taken():
    found = comparison({"vae": [0.1, 0.3, 0.2], "plain": [0.2, 0.2, 0.21], "pca": [0.9, 0.9, 0.9]})
    taken = found.verdict
    assert taken.take == "plain"
    assert taken.tied == ("plain",)
    assert "vae and plain cannot be told apart in fvu" in taken.sentence
    assert "holds zero" in taken.sentence
    assert "900 parameters" in taken.sentence


def test_one_that_varies_much_and_ranks_behind_a_worse_one_is_not_tied():
    figures = {"vae": [0.1] * 3, "plain": [0.2, 0.21, 0.2], "pca": [0.2, 9.0, 0.3]}
    assert comparison(figures).verdict.tied == ()


def test_what_the_figures_do_not_show_is_said():
    behind = comparison({"pca": [0.1, 0.11, 0.1], "plain": [0.2, 0.21, 0.2]}).verdict
    assert behind.take == "pca"
    assert "principal components" in behind.sentence
    assert behind.warning.startswith("No recipe is as good as the baseline pca")
    tied = comparison({"plain": [0.2, 0.3, 0.2], "untrained": [0.3, 0.2, 0.25]}).verdict
    assert tied.take == "plain"
    assert "do not show that training helps" in tied.warning


def test_a_single_seed_says_nothing_of_chance():
    taken = comparison({"vae": [0.1], "plain": [0.2], "untrained": [2.0]}).verdict
    assert "One seed does not say how sure that is" in taken.sentence
    assert taken.warning == ""


def test_undefined_figures_are_no_candidates():
    taken = comparison({"vae": [math.nan, 0.0], "plain": [0.2, 0.3]}).verdict
    assert taken.sentence == "plain is the only method that was measured."
    only = comparison({"vae": [math.nan, 0.0]})
    assert "undefined" in only.verdict.sentence
    assert replace(only, winner=None).verdict.take == "vae"
