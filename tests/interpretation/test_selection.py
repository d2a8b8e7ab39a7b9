"""Latents chosen by where they are active, against plain NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.anatomy import SparseCode
from isthmus.errors import IsthmusError
from isthmus.interpretation.selection import firing_shares, ranked_latents, separation

from .made import WIDTH, dictionary, language, ordinary, residual, tokens

X = residual(language(), tokens(60))[ordinary(tokens(60))]


@pytest.mark.parametrize("recipe", ["topk", "relu-l1"])
def test_shares_are_those_of_the_dense_code(recipe):
    model = dictionary(recipe)
    active = model.encode(X).numpy() != 0
    found = firing_shares(model, X)
    np.testing.assert_allclose(found, active.mean(0), atol=1e-15)
    assert 0 < active.mean() < 1
    np.testing.assert_array_equal(firing_shares(model, X.numpy()), found)


def test_the_dense_code_is_not_built_and_the_mode_is_kept(monkeypatch):
    def dense(self):
        raise AssertionError("the dense code was built")

    monkeypatch.setattr(SparseCode, "z", property(dense))
    model = dictionary().train()
    firing_shares(model, X)
    assert model.training


def test_separation_is_the_least_difference_over_kinds():
    model, rng = dictionary(), np.random.default_rng(0)
    active = model.encode(X).numpy() != 0
    positive, kinds = rng.random(len(X)) < 0.4, rng.integers(0, 3, len(X))
    differences = [
        active[(kinds == kind) & positive].mean(0) - active[(kinds == kind) & ~positive].mean(0)
        for kind in range(3)
    ]
    np.testing.assert_allclose(
        separation(model, X, positive, kinds), np.min(differences, 0), atol=1e-15
    )
    np.testing.assert_allclose(
        separation(model, X, ~positive, kinds), -np.max(differences, 0), atol=1e-15
    )
    names = np.array(["river", "person", "film"])[kinds]
    np.testing.assert_array_equal(
        separation(model, X, positive, names), separation(model, X, positive, kinds)
    )


def test_without_kinds_the_classes_are_opposites():
    model = dictionary()
    positive = torch.arange(len(X)) % 3 == 0
    found = separation(model, X, positive)
    np.testing.assert_allclose(found, -separation(model, X, ~positive), atol=1e-15)
    assert np.abs(found).max() > 0


def test_a_latent_that_tells_the_classes_apart_has_score_one():
    model = dictionary()
    active = model.encode(X)[:, 5] != 0
    score = separation(model, X, active)
    assert score[5] == 1.0
    assert score.argmax() == 5


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=30),
    st.floats(0, 1),
    st.none() | st.integers(0, 40),
)
def test_ranking_is_a_sort_of_what_is_left(pairs, at_most, count):
    score, elsewhere = np.array(pairs).T
    wanted = sorted(
        (j for j in range(len(pairs)) if score[j] > 0 and elsewhere[j] <= at_most),
        key=lambda j: (-score[j], j),
    )
    assert ranked_latents(score, elsewhere, at_most, count).tolist() == wanted[:count]


def test_what_does_not_fit_is_said():
    model, some = dictionary(), np.arange(len(X)) % 2 == 0
    for call, words in (
        (lambda: firing_shares(model, X[:0]), "one row at least"),
        (lambda: firing_shares(model, X[0]), "rows, width"),
        (lambda: firing_shares(model, torch.randn(3, WIDTH + 1)), "autoencoder reads"),
        (lambda: separation(model, X, some[1:]), "one value for each row"),
        (lambda: separation(model, X, some, np.zeros(3)), "kinds has the shape"),
        (lambda: separation(model, X, some, some), "has no"),
        (lambda: ranked_latents(np.zeros(3), np.zeros(4), 0.1), "for each latent"),
        (lambda: ranked_latents(np.zeros(3), np.zeros(3), 0.1, -1), "count=-1"),
    ):
        with pytest.raises(IsthmusError, match=words):
            call()
