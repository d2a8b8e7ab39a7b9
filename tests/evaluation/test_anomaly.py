import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from isthmus import IsthmusError
from isthmus.evaluation.anomaly import auroc, average_precision, mean_shift, precision_at_n

MEASURES = [auroc, average_precision, precision_at_n]
tied = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40)


def usable(pairs):
    scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    return scores, labels, 0 < labels.sum() < len(labels) and len(set(scores)) > 1


def drawn(n=200, share=0.2, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < share
    return rng.normal(size=n) + shift * labels, labels


@settings(max_examples=50)
@given(tied)
def test_auroc_counts_pairs_and_half_of_ties(pairs):
    scores, labels, fit = usable(pairs)
    if fit:
        above = scores[labels][:, None] - scores[~labels][None]
        wanted = np.mean((above > 0) + 0.5 * (above == 0))
        assert auroc(scores, labels, higher_is_anomalous=True).value == pytest.approx(wanted)
        assert wanted == pytest.approx(roc_auc_score(labels, scores))


@settings(max_examples=50)
@given(tied)
def test_average_precision_is_that_of_scikit_learn(pairs):
    scores, labels, fit = usable(pairs)
    if fit:
        got = average_precision(scores, labels, higher_is_anomalous=True, draws=0)
        assert got.value == pytest.approx(average_precision_score(labels, scores))


@settings(max_examples=50)
@given(tied, st.data())
def test_precision_is_the_mean_over_orders_of_tied_rows(pairs, data):
    scores, labels, fit = usable(pairs)
    if fit:
        n = data.draw(st.integers(1, len(scores)))
        got = precision_at_n(scores, labels, higher_is_anomalous=True, n=n, draws=0).value
        cut = np.sort(scores)[::-1][n - 1]
        over, at = scores > cut, scores == cut
        wanted = (labels[over].sum() + (n - over.sum()) * labels[at].mean()) / n
        assert got == pytest.approx(wanted)


def test_precision_at_the_number_of_anomalies():
    scores, labels = [9, 8, 7, 6, 5, 4], [1, 0, 1, 1, 0, 0]
    got = precision_at_n(scores, labels, higher_is_anomalous=True)
    assert got.value == pytest.approx(2 / 3)
    assert "3 most anomalous" in got.estimator
    assert got.note == "3 of 6 rows are anomalies"


@pytest.mark.parametrize("measure", MEASURES)
def test_both_signs_are_one_measure(measure):
    scores, labels = drawn()
    up = measure(scores, labels, higher_is_anomalous=True)
    down = measure(
        torch.tensor(-scores), torch.tensor(labels.astype(int)), higher_is_anomalous=False
    )
    assert down.value == up.value
    assert down.interval == up.interval
    if measure is auroc:
        wrong = measure(scores, labels, higher_is_anomalous=False)
        assert wrong.value == pytest.approx(1 - up.value)
        assert wrong.interval == pytest.approx((1 - up.interval[1], 1 - up.interval[0]))


@pytest.mark.parametrize("measure", MEASURES)
def test_the_sign_must_be_stated(measure):
    with pytest.raises(TypeError, match="higher_is_anomalous"):
        measure([0, 1], [0, 1])
    with pytest.raises(IsthmusError, match="sign of the scores"):
        measure([0, 1], [0, 1], higher_is_anomalous="yes")


@pytest.mark.parametrize("measure", MEASURES)
def test_perfect_scores_and_noise(measure):
    labels = np.arange(2000) % 4 == 0
    perfect = measure(labels + 0.1 * np.random.default_rng(0).random(2000), labels,
                      higher_is_anomalous=True)  # fmt: skip
    assert perfect.value == 1
    noise = measure(np.random.default_rng(1).normal(size=2000), labels, higher_is_anomalous=True)
    chance = 0.5 if measure is auroc else 0.25
    assert noise.interval[0] < chance < noise.interval[1]


@pytest.mark.parametrize("measure", MEASURES)
def test_the_order_of_rows_does_not_matter(measure):
    scores, labels = drawn()
    scores = scores.round(1)
    order = np.random.default_rng(1).permutation(len(scores))
    one = measure(scores, labels, higher_is_anomalous=True)
    other = measure(scores[order], labels[order], higher_is_anomalous=True)
    assert other.value == pytest.approx(one.value, abs=1e-12)
    assert other.interval == pytest.approx(one.interval, abs=1e-12)


def test_delong_by_its_definition():
    scores, labels = drawn(60, 0.4)
    high, low = scores[labels], scores[~labels]
    wins = (high[:, None] > low[None]).astype(float)
    variance = wins.mean(1).var(ddof=1) / len(high) + wins.mean(0).var(ddof=1) / len(low)
    area = wins.mean()
    half = 1.959964 * math.sqrt(variance) / (area * (1 - area))
    ends = [1 / (1 + math.exp(-(math.log(area / (1 - area)) + s * half))) for s in (-1, 1)]
    got = auroc(scores, labels, higher_is_anomalous=True)
    assert got.interval == pytest.approx(ends, rel=1e-6)


def test_delongs_interval_covers_what_it_says():
    truth = 0.5 * (1 + math.erf(1 / 2))  # P(N(1, 1) > N(0, 1))
    hits = 0
    for seed in range(400):
        low, high = auroc(*drawn(80, 0.3, seed=seed), higher_is_anomalous=True).interval
        hits += low < truth < high
    assert 0.92 < hits / 400 < 0.98


@pytest.mark.parametrize(("m", "n"), [(5, 5), (1, 30), (20, 3)])
def test_separated_classes_have_an_interval_of_some_width(m, n):
    scores, labels = np.arange(m + n), np.arange(m + n) >= n
    got = auroc(scores, labels, higher_is_anomalous=True)
    low, high = got.interval
    assert got.value == high == 1
    spread = 1 + ((m + n) / 2 - 1) * ((1 - low) / (2 - low) + low / (1 + low))
    assert 1 - low == pytest.approx(1.959964 * math.sqrt(low * (1 - low) * spread / (m * n)))
    assert "Newcombe" in got.estimator
    turned = auroc(scores, labels, higher_is_anomalous=False)
    assert turned.interval == pytest.approx((0, 1 - low))


@pytest.mark.parametrize("measure", [average_precision, precision_at_n])
def test_the_bootstrap_resamples_within_each_class(measure):
    scores, labels = drawn(300, 0.3)
    low, high = measure(scores, labels, higher_is_anomalous=True, draws=2000).interval
    rng, found = np.random.default_rng(9), []
    yes, no = np.flatnonzero(labels), np.flatnonzero(~labels)
    for _ in range(150):
        rows = np.concatenate([rng.choice(part, len(part)) for part in (yes, no)])
        found.append(measure(scores[rows], labels[rows], higher_is_anomalous=True, draws=0).value)
    spread = np.quantile(found, 0.975) - np.quantile(found, 0.025)
    assert high - low == pytest.approx(spread, rel=0.3)


def test_resamples_that_agree_give_no_interval():
    got = average_precision([3, 2, 1, 0], [1, 1, 0, 0], higher_is_anomalous=True)
    assert got.value == 1
    assert got.interval is None
    assert "the resamples do not differ" in got.note


def test_misuse_is_one_sentence():
    with pytest.raises(IsthmusError, match="only normal rows"):
        auroc([1, 2], [0, 0], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="only anomalies"):
        auroc([1, 2], [True, True], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="all scores equal 3 "):
        auroc([3, 3], [0, 1], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="scores contain NaN"):
        average_precision([3, math.nan], [0, 1], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="labels contain missing"):
        average_precision([3, 2], [0, math.nan], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="not 0 and 1"):
        auroc([1, 2, 3], [1, -1, 1], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="not 0 and 1"):
        auroc([1, 2], ["normal", "odd"], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="2 scores and 3 labels"):
        auroc([1, 2], [1, 0, 0], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="n = 3 does not fit"):
        precision_at_n([1, 2], [0, 1], higher_is_anomalous=True, n=3)
    with pytest.raises(IsthmusError, match="one value for each row"):
        auroc(np.eye(2), [0, 1], higher_is_anomalous=True)
    with pytest.raises(IsthmusError, match="not numbers"):
        auroc(["a", "b"], [0, 1], higher_is_anomalous=True)


def shifted_by_loops(X, data, k, rounds, own):
    moved = X.copy()
    for _ in range(rounds):
        for i in range(len(moved)):
            distances = [np.linalg.norm(moved[i] - row) for row in data]
            if own:
                distances[i] = np.inf
            moved[i] = data[np.argsort(distances)[:k]].mean(0)
    return moved


def test_mean_shift_against_loops():
    rng = np.random.default_rng(0)
    X, data = rng.normal(size=(25, 3)) + 50, rng.normal(size=(40, 3)) + 50
    got = mean_shift(X, k=4, rounds=2)
    np.testing.assert_allclose(got, shifted_by_loops(X, X, 4, 2, True))
    got = mean_shift(torch.tensor(X), k=5, data=data)
    np.testing.assert_allclose(got, shifted_by_loops(X, data, 5, 3, False))


def test_mean_shift_moves_outliers_farthest():
    X = np.random.default_rng(0).normal(size=(100, 2))
    X[7] = [9, -9]
    moved = np.linalg.norm(X - mean_shift(X, k=8), axis=1)
    assert moved.argmax() == 7
    assert moved[7] > 8 > 4 > np.delete(moved, 7).max()


def test_a_row_is_no_neighbour_of_itself_even_among_copies():
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 6, axis=0)
    np.testing.assert_allclose(mean_shift(X, k=5), X)
    pair = np.array([[0.0], [1.0]])
    np.testing.assert_allclose(mean_shift(pair, k=1, rounds=1), pair[::-1])


def test_mean_shift_keeps_the_shape_of_rows():
    X = np.random.default_rng(0).normal(size=(12, 2, 3))
    flat = mean_shift(X.reshape(12, 6), k=3)
    np.testing.assert_array_equal(mean_shift(X, k=3), flat.reshape(12, 2, 3))
    with pytest.raises(IsthmusError, match="k = 12 does not fit: pass a whole number, 1 to 11"):
        mean_shift(X, k=12)
    with pytest.raises(IsthmusError, match="rounds = 0"):
        mean_shift(X, k=2, rounds=0)
    with pytest.raises(IsthmusError, match="rows of 6 elements have no neighbours"):
        mean_shift(X, k=2, data=np.eye(3))
    with pytest.raises(IsthmusError, match="rows contain NaN"):
        mean_shift(np.where(X > 1, np.nan, X), k=2)
