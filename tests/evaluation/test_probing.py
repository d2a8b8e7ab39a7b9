import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from isthmus import IsthmusError
from isthmus.evaluation import predictors as _probes
from isthmus.evaluation.probing import KS, STRENGTHS, knn_probe, linear_probe

PROBES = [linear_probe, knn_probe]


def classes(n=150, d=4, gap=2.0, seed=0, names=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(names)
    codes = rng.normal(size=(n, d))
    codes[:, : len(names)] += gap * np.eye(len(names))[labels]
    return codes, np.array(names)[labels]


def values(n=150, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n, 3)) * [1, 10, 100] + 50
    return codes, codes @ [1, 0.1, 0] + noise * rng.normal(size=n)


def standardised(codes, test):
    return (codes - codes.mean(0)) / codes.std(0), (test - codes.mean(0)) / codes.std(0)


@pytest.mark.parametrize("probe", PROBES)
def test_separate_classes_are_read_off_and_shuffled_labels_are_not(probe):
    (codes, labels), (test, truth) = classes(gap=9), classes(90, gap=9, seed=1)
    got = probe(codes, labels, torch.tensor(test), truth)
    assert got.value == 1
    assert got.interval[1] == 1
    assert 0.9 < got.interval[0] < 1
    assert got.n == 90
    (codes, labels), (test, truth) = classes(300, gap=0, seed=2), classes(300, gap=0, seed=3)
    low, high = probe(codes, labels, test, truth).interval
    assert low < 1 / 3 < high


@pytest.mark.parametrize("probe", PROBES)
def test_continuous_labels_are_regressed_on(probe):
    (codes, labels), (test, truth) = values(noise=0), values(80, noise=0, seed=1)
    got = probe(codes, labels, test, truth)
    assert got.value == pytest.approx(1, abs=1e-8 if probe is linear_probe else 0.25)
    noise = probe(codes, np.random.default_rng(3).permutation(labels), test, truth)
    assert noise.value < 0.1
    assert noise.interval[0] < noise.value < noise.interval[1] < 0.3
    assert "R^2" in got.estimator


@pytest.mark.parametrize("probe", PROBES)
def test_latents_that_hardly_vary_may_stay_small(probe):
    # Twenty passive latents of a thousandth's size drown two active ones once standardised.
    def made(seed, n=90):
        rng = np.random.default_rng(seed)
        labels = np.arange(n) % 3
        active = np.eye(3)[labels][:, :2] + 0.25 * rng.normal(size=(n, 2))
        return np.hstack([active, 1e-3 * rng.normal(size=(n, 20))]), labels

    (codes, labels), (test, truth) = made(0), made(1, 900)
    alone = probe(codes[:, :2], labels, test[:, :2], truth).value
    drowned = probe(codes, labels, test, truth).value
    kept = probe(codes, labels, test, truth, standardise=False)
    assert drowned < alone - 0.03
    assert kept.value > alone - 0.01
    assert "not standardised" in kept.estimator
    in_other_units = probe(100 * codes + 7, labels, 100 * test + 7, truth, standardise=False)
    assert in_other_units.value == pytest.approx(kept.value, abs=2e-3)


@pytest.mark.parametrize("probe", PROBES)
def test_a_constant_latent_is_no_trouble_to_one_factor(probe):
    codes, labels = classes()
    wider = np.hstack([codes, np.full((len(codes), 1), 3.0)])
    one, other = (probe(c, labels, c, labels, standardise=False) for c in (codes, wider))
    assert one.value == other.value


def test_whole_floats_are_classes():
    codes, labels = classes(names=(0.0, 1.0, 2.0))
    assert "accuracy" in knn_probe(codes, labels, codes, labels).estimator
    assert "R^2" in knn_probe(codes, labels + 0.5, codes, labels + 0.5).estimator


def test_the_logistic_probe_is_at_its_optimum():
    codes, labels = classes(90)
    numbers = np.unique(labels, return_inverse=True)[1]
    strength, queries = 0.05, np.random.default_rng(4).normal(size=(400, 4)) * 2

    def loss(flat):
        weights, bias = flat[:12].reshape(4, 3), flat[12:]
        picked = log_softmax(codes @ weights + bias, 1)[np.arange(90), numbers]
        return -picked.mean() + strength / 2 * (weights**2).sum()

    best = minimize(loss, np.zeros(15), method="BFGS", options={"gtol": 1e-4}).x
    wanted = (queries @ best[:12].reshape(4, 3) + best[12:]).argmax(1)
    (first, got), converged = _probes.logistic(codes, numbers, [1.0, strength], queries)
    assert converged
    assert (got == wanted).mean() > 0.99
    assert (first == wanted).mean() < 1


def test_the_ridge_probe_is_that_of_scikit_learn():
    codes, labels = values()
    test, truth = values(60, seed=1)
    rows, queries = standardised(codes, test)
    model = Ridge(alpha=0.1 * len(rows)).fit(rows, labels)
    got = linear_probe(codes, labels, test, truth, strengths=[0.1])
    assert got.value == pytest.approx(r2_score(truth, model.predict(queries)))


@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_neighbour_probe_is_that_of_scikit_learn(k):
    codes, labels = values()
    test, truth = values(60, seed=1)
    rows, queries = standardised(codes, test)
    model = KNeighborsRegressor(k).fit(rows, labels)
    got = knn_probe(codes, labels, test, truth, ks=[k])
    assert got.value == pytest.approx(r2_score(truth, model.predict(queries)))


def test_votes_are_those_of_scikit_learn_but_for_ties():
    codes, labels = classes(gap=1)
    test, _ = classes(100, gap=1, seed=1)
    numbers = np.unique(labels, return_inverse=True)[1]
    (three, one), _ = _probes.neighbour_votes(codes, numbers, [3, 1], test)
    np.testing.assert_array_equal(one, KNeighborsClassifier(1).fit(codes, numbers).predict(test))
    model = KNeighborsClassifier(3).fit(codes, numbers)
    clear = model.predict_proba(test).max(1) > 0.5
    np.testing.assert_array_equal(three[clear], model.predict(test)[clear])


def test_tied_votes_go_to_the_nearer_class():
    rows, numbers = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([2, 0, 0, 2])
    (two, four), _ = _probes.neighbour_votes(rows, numbers, [2, 4], np.array([[0.0], [9.0]]))
    np.testing.assert_array_equal(two, [2, 2])
    np.testing.assert_array_equal(four, [2, 2])


@pytest.mark.parametrize("probe", PROBES)
def test_test_labels_do_not_steer_the_choice(probe):
    codes, labels = classes(gap=1)
    test, truth = classes(60, gap=1, seed=1)
    right = probe(codes, labels, test, truth)
    # Were the setting chosen on the test rows, opposite labels would choose another.
    wrong = probe(codes, labels, test, np.roll(truth, 1))
    assert right.estimator == wrong.estimator
    options = {"strengths": STRENGTHS} if probe is linear_probe else {"ks": KS}
    ((name, given_options),) = options.items()
    each = {o: probe(codes, labels, test, truth, **{name: [o]}).value for o in given_options}
    said = float(right.estimator.split("(")[1].split(" ")[1].rstrip(","))
    assert right.value == each[said]


@pytest.mark.parametrize("probe", PROBES)
def test_the_choice_suits_the_codes(probe):
    # Few rows, many latents, much noise: weak penalties and single neighbours overfit.
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 50))
    target = rows[:, :3].sum(1) + rng.normal(size=400)
    parts = rows[:70], target[:70], rows[70:], target[70:]
    weakest = {"strengths": [1e-5]} if probe is linear_probe else {"ks": [1]}
    assert probe(*parts, seeds=range(3)).per.min() > probe(*parts, **weakest).value + 0.2


@pytest.mark.parametrize("probe", PROBES)
def test_few_labels(probe):
    codes, labels = classes(600)
    test, truth = classes(300, seed=1)
    options = {"strengths": [1, 0.01]} if probe is linear_probe else {}
    few = probe(codes, labels, test, truth, per_class=2, seeds=range(6), **options)
    many = probe(codes, labels, test, truth, per_class=100, seeds=range(6), **options)
    assert few.value < many.value
    assert few.per.std() > many.per.std()
    assert few.per.shape == (6,)
    assert few.value == pytest.approx(few.per.mean())
    assert few.interval[0] < few.value < few.interval[1]
    assert "2 labels a class" in few.estimator
    assert "mean over 6 seeds" in few.estimator


def test_one_label_a_class_leaves_nothing_to_choose_on():
    codes, labels = classes(60)
    got = linear_probe(codes, labels, codes, labels, per_class=1)
    assert "0.01 was taken, not chosen" in got.note
    got = knn_probe(codes, labels, codes, labels, per_class=1)
    assert "was taken, not chosen" in got.note


def test_units_of_codes_and_dead_latents_do_not_matter():
    codes, labels = classes()
    test, truth = classes(60, seed=1)
    got = linear_probe(codes, labels, test, truth)
    scale, shift = [1e-3, 10, 1, 500], [0, 1e4, -7, 3]
    other = [np.c_[rows * scale + shift, np.full(len(rows), 0.1)] for rows in (codes, test)]
    assert linear_probe(other[0], labels, other[1], truth).value == got.value


def test_the_order_of_test_rows_does_not_matter():
    order = np.random.default_rng(2).permutation(12)
    codes, labels = classes(60)
    test, truth = classes(12, seed=1)
    one = knn_probe(codes, labels, test, truth, ks=[3])
    other = knn_probe(codes, labels, test[order], truth[order], ks=[3])
    assert other.value == one.value
    assert other.interval == one.interval


def test_the_interval_over_rows_and_seeds_holds_both():
    codes, labels = classes(600, gap=1)
    test, truth = classes(300, gap=1, seed=1)
    both = linear_probe(codes, labels, test, truth, per_class=3, seeds=range(8), strengths=[0.1])
    rows = np.sqrt(both.value * (1 - both.value) / 300)
    seeds = both.per.std() / np.sqrt(8)
    half = (both.interval[1] - both.interval[0]) / 2
    assert 1.7 * max(rows * 0.7, seeds) < half < 2.3 * np.hypot(rows, seeds)


def test_classes_that_only_the_test_has_count_as_wrong():
    codes, labels = classes(gap=9)
    test, truth = classes(60, gap=9, seed=1)
    truth = np.where(np.arange(60) < 15, "d", truth)
    got = linear_probe(codes, labels, test, truth)
    assert got.value == 0.75
    assert "15 test rows are of classes without training rows" in got.note


def test_a_fit_that_stops_early_is_noted(monkeypatch):
    monkeypatch.setattr(_probes, "MOST_STEPS", 1)
    codes, labels = classes()
    assert "did not converge" in linear_probe(codes, labels, codes, labels).note


def test_misuse_is_one_sentence():
    codes, labels = classes(30)
    with pytest.raises(IsthmusError, match="one class only"):
        linear_probe(codes, np.zeros(30), codes, labels)
    with pytest.raises(IsthmusError, match="labels contain NaN"):
        linear_probe(codes, np.r_[np.nan, np.zeros(29)], codes, np.zeros(30))
    with pytest.raises(IsthmusError, match="test codes contain NaN"):
        knn_probe(codes, labels, codes * np.nan, labels)
    with pytest.raises(IsthmusError, match="codes of 4 and test codes of 3"):
        knn_probe(codes, labels, codes[:, :3], labels)
    with pytest.raises(IsthmusError, match="30 codes and 29 labels"):
        knn_probe(codes, labels[:-1], codes, labels)
    with pytest.raises(IsthmusError, match="10 training rows, fewer than per_class = 11"):
        knn_probe(codes, labels, codes, labels, per_class=11)
    with pytest.raises(IsthmusError, match="labels are continuous"):
        knn_probe(codes, codes[:, 0], codes, codes[:, 0], per_class=1)
    with pytest.raises(IsthmusError, match="do not vary"):
        knn_probe(codes, np.full(30, 0.5), codes, np.full(30, 0.5))
    with pytest.raises(IsthmusError, match="numbers above 0"):
        linear_probe(codes, labels, codes, labels, strengths=[0])
    with pytest.raises(IsthmusError, match="ks is empty"):
        knn_probe(codes, labels, codes, labels, ks=[])
    with pytest.raises(IsthmusError, match="have no 50 neighbours"):
        knn_probe(codes, labels, codes, labels, ks=[50])
    with pytest.raises(IsthmusError, match="no seed"):
        knn_probe(codes, labels, codes, labels, seeds=[])
    with pytest.raises(IsthmusError, match="seed = -1"):
        knn_probe(codes, labels, codes, labels, seeds=-1)
