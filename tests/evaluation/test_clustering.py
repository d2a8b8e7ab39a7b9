import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from isthmus import IsthmusError
from isthmus.evaluation.clustering import ari, clustering_accuracy, nmi

MEASURES = [clustering_accuracy, nmi, ari]
partitions = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=4, max_size=30)


def noisy(n=300, noise=0.2, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    assigned = np.where(rng.random(n) < noise, rng.integers(0, 4, n), (labels + 1) % 4)
    return assigned, labels


def best_by_trying_all(assigned, labels):
    clusters, classes = sorted(set(assigned)), sorted(set(labels))
    slots = [*classes, *[None] * len(clusters)]
    pairings = [
        dict(zip(clusters, p, strict=True))
        for p in set(itertools.permutations(slots, len(clusters)))
    ]
    pairs = list(zip(assigned, labels, strict=True))
    return max(sum(names[a] == c for a, c in pairs) for names in pairings) / len(labels)


@settings(max_examples=40)
@given(partitions)
def test_accuracy_is_the_best_of_all_pairings(pairs):
    assigned, labels = map(list, zip(*pairs, strict=True))
    if len(set(labels)) > 1:
        got = clustering_accuracy(assigned, labels, draws=0)
        assert got.value == pytest.approx(best_by_trying_all(assigned, labels))


def test_clusters_and_classes_may_differ_in_number():
    labels = np.repeat([0, 1], 6)
    split = np.arange(12) // 3  # four pure clusters of two classes
    got = clustering_accuracy(split, labels)
    assert got.value == 0.5
    np.testing.assert_array_equal(got.per, [0.5, 0.5])
    merged = clustering_accuracy(np.zeros(12), np.arange(12) // 3)
    assert merged.value == 0.25
    np.testing.assert_array_equal(np.sort(merged.per), [0, 0, 0, 1])


def test_values_are_those_of_scikit_learn():
    assigned, labels = noisy()
    assert nmi(assigned, labels).value == normalized_mutual_info_score(labels, assigned)
    assert ari(assigned, labels).value == adjusted_rand_score(labels, assigned)


def test_noise_is_at_chance():
    rng = np.random.default_rng(1)
    assigned, labels = rng.integers(0, 5, 4000), rng.integers(0, 5, 4000)
    assert nmi(assigned, labels).value < 0.01
    assert ari(assigned, labels).interval[0] < 0 < ari(assigned, labels).interval[1]
    assert clustering_accuracy(assigned, labels).value == pytest.approx(0.22, abs=0.02)


@pytest.mark.parametrize("measure", MEASURES)
def test_rows_and_names_may_be_permuted(measure):
    assigned, labels = noisy()
    order = np.random.default_rng(3).permutation(len(labels))
    one, other = measure(assigned, labels), measure(torch.tensor(assigned[order]), labels[order])
    assert other.value == pytest.approx(one.value, abs=1e-12)
    assert other.interval == pytest.approx(one.interval, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_interval_is_that_of_resampled_rows(measure):
    assigned, labels = noisy()
    low, high = measure(assigned, labels, draws=2000).interval
    rng, plain = np.random.default_rng(5), []
    for _ in range(150):
        drawn = rng.integers(0, len(labels), len(labels))
        plain.append(measure(assigned[drawn], labels[drawn], draws=0).value)
    spread = np.quantile(plain, 0.975) - np.quantile(plain, 0.025)
    assert high - low == pytest.approx(spread, rel=0.3)
    assert low < measure(assigned, labels).value < high


def test_the_interval_of_the_accuracy_is_binomial():
    assigned, labels = noisy(1000)
    result = clustering_accuracy(assigned, labels, draws=4000)
    half = 1.96 * math.sqrt(result.value * (1 - result.value) / 1000)
    assert result.interval == pytest.approx((result.value - half, result.value + half), abs=0.004)


def test_small_samples_keep_the_value_inside():
    rng = np.random.default_rng(2)
    result = nmi(rng.integers(0, 8, 40), rng.integers(0, 8, 40))
    assert result.interval[0] < result.value < result.interval[1]


def test_seeds_and_draws():
    assigned, labels = noisy()
    assert nmi(assigned, labels, seed=1).interval == nmi(assigned, labels, seed=1).interval
    assert nmi(assigned, labels, seed=1).interval != nmi(assigned, labels, seed=2).interval
    assert nmi(assigned, labels, draws=0).interval is None
    assert "no interval" in nmi(assigned, labels, draws=0).estimator
    assert nmi(assigned, labels, draws=0).note == ""


def test_one_cluster_says_nothing():
    labels = np.arange(12) % 3
    assert nmi(np.zeros(12), labels).value == pytest.approx(0, abs=1e-12)
    assert ari(np.zeros(12), labels).value == pytest.approx(0, abs=1e-12)
    assert clustering_accuracy(np.zeros(12), labels).value == pytest.approx(1 / 3)


def test_misuse_is_one_sentence():
    with pytest.raises(IsthmusError, match="one class only"):
        nmi([0, 1], [3, 3])
    with pytest.raises(IsthmusError, match="missing values"):
        ari([0.0, math.nan], [0, 1])
    with pytest.raises(IsthmusError, match="missing values"):
        ari([0, 1], np.array(["a", None], dtype=object))
    for labels in (["a", math.nan], np.ma.masked_array([1, 2], mask=[0, 1])):
        with pytest.raises(IsthmusError, match="missing values"):
            ari([0, 1], labels)
    with pytest.raises(IsthmusError, match="mix types"):
        ari([0, 1], np.array(["a", 3], dtype=object))
    with pytest.raises(IsthmusError, match="2 assigned clusters and 3 labels"):
        clustering_accuracy([0, 1], [0, 1, 2])
    with pytest.raises(IsthmusError, match="one label for each row"):
        clustering_accuracy(np.eye(3), [0, 1, 2])
    with pytest.raises(IsthmusError, match="one label for each row"):
        clustering_accuracy([], [])
    with pytest.raises(IsthmusError, match="draws = -1"):
        nmi([0, 1], [0, 1], draws=-1)
    with pytest.raises(IsthmusError, match="pairs that an assignment"):
        clustering_accuracy(np.arange(5000), np.arange(5000))
