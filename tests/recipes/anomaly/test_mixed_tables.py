"""The recipe for anomalies on tables of words, gaps and truth values beside numbers."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

import isthmus
from isthmus import notices
from isthmus.data import as_source
from isthmus.recipes.anomaly.trimmed_linear_vae import ROUNDED, Solved


def mixed(rows=400, seed=0):
    """Five columns of two factors and little noise, a word, a truth value, gaps, and 20 rows in
    which the first column does not go with the others."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, 2))
    frame = pd.DataFrame(
        factors @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(rows, 5)),
        columns=[f"x{i}" for i in range(5)],
    )
    frame["city"] = rng.choice(["Oslo", "Lima", "Rome"], rows, p=[0.6, 0.3, 0.1])
    frame["ok"] = rng.random(rows) < 0.95
    frame.loc[rng.random(rows) < 0.03, "x4"] = np.nan
    odd = np.zeros(rows, bool)
    odd[rng.permutation(rows)[:20]] = True
    frame.loc[odd, "x0"] += rng.choice([-1.2, 1.2], 20)
    return frame, odd


@pytest.fixture(scope="module")
def fitted():
    frame, odd = mixed()
    with notices.collected(quiet=True):
        return isthmus.fit("trimmed-linear-vae", frame, progress=False), frame, odd


def test_numbers_that_do_not_go_together_are_found_among_words_and_gaps(fitted):
    model, frame, odd = fitted
    assert roc_auc_score(odd, -model.score(frame)) > 0.98


def test_a_new_word_or_a_gap_does_not_outweigh_the_numbers(fitted):
    model, frame, odd = fitted
    usual = int(np.flatnonzero(~odd & frame["x4"].notna())[5])
    rows = frame.iloc[[usual] * 5].reset_index(drop=True)
    rows.loc[1, "city"] = "Paris"
    rows.loc[2, "city"] = None
    rows.loc[3, "x4"] = np.nan
    rows.loc[4, "x0"] += 1.2
    with notices.collected(quiet=True):
        plain, word, nothing, gap, broken = model.score(rows)
    # Undoing one rounding costs 6 nats, of three columns of words together a third of that.
    assert 0 < plain - word < 7
    assert 0 < plain - nothing < 7
    assert plain - gap < 0.5 * (plain - broken)


def test_a_model_with_rounding_is_the_normal_distribution_that_it_says():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)))
    rounding = torch.tensor([0.0, 0.3, 0.0, 2.0, 0.0]).double()
    plain = Solved(x.mean(0), torch.cov(x.T, correction=0), None, 0.8)
    rough = Solved(x.mean(0), torch.cov(x.T, correction=0), None, 0.8, rounding=rounding)
    directions = plain.directions
    covariance = directions * (plain.variances - plain.noise) @ directions.T
    covariance += torch.eye(5).double() * plain.noise + torch.diag(rounding)
    exact = multivariate_normal(x.mean(0).numpy(), covariance.numpy())
    constant = exact.logpdf(x.mean(0).numpy())
    np.testing.assert_allclose(
        rough.distance(x).numpy(), -2 * (exact.logpdf(x.numpy()) - constant), rtol=1e-9
    )


def test_which_features_are_rounded_and_filled_is_known_of_tables_alone():
    frame, _ = mixed(50)
    with notices.collected(quiet=True):
        model = isthmus.fit("trimmed-linear-vae", frame, progress=False)
    source = model.preparation.source(as_source(frame))
    assert [n for n, own in zip(source.columns, source.truths, strict=True) if own] == [
        n for n in source.columns if n not in ("x0", "x1", "x2", "x3", "x4")
    ]
    assert source.fills == {5: 4}
    assert as_source(np.eye(4, dtype=np.float32)).truths is None
    np.testing.assert_allclose(np.var(np.linspace(-0.5, 0.5, 100001)), ROUNDED, rtol=1e-4)


def test_an_array_of_zeros_and_ones_is_read_as_before():
    X = (np.random.default_rng(0).random((60, 6)) < 0.3).astype(np.float32)
    as_numbers = isthmus.fit("trimmed-linear-vae", X, progress=False)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    np.testing.assert_array_equal(
        isthmus.fit("trimmed-linear-vae", frame, progress=False).score(frame), as_numbers.score(X)
    )
