import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from isthmus.errors import IsthmusError
from isthmus.evaluation import fvu
from isthmus.interpretation.geometry import error_decomposition, split_error


def rows(n=2000, width=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width))


def test_an_error_that_is_linear_in_the_data_leaves_nothing():
    x = rows()
    recon = x - (x @ np.diag([0.5, 0.1, 0.0, 0.3, 0.2, 0.4]) + 2.0)
    found = error_decomposition(x, recon)
    assert found["error_r2"].value == pytest.approx(1.0)
    assert found["nonlinear_fvu"].value == pytest.approx(0.0, abs=1e-12)
    assert found["linear_fvu"].value == pytest.approx(found["fvu"].value)


def test_an_error_that_knows_nothing_of_the_data_is_all_nonlinear():
    x = rows(20_000)
    found = error_decomposition(x, x - rows(20_000, seed=1))
    for name in ("error_r2", "norm_r2"):
        assert abs(found[name].value) < 0.01
        low, high = found[name].interval
        assert low < 0.003
        assert high > -0.01
    assert found["nonlinear_fvu"].value == pytest.approx(found["fvu"].value, rel=0.01)


def test_a_norm_may_be_linear_where_the_vector_is_not():
    rng = np.random.default_rng(2)
    x = rng.uniform(1.0, 2.0, (20_000, 3))
    error = rng.choice([-1.0, 1.0], (20_000, 3)) * np.sqrt(x)
    found = error_decomposition(x, x - error)
    assert found["norm_r2"].value == pytest.approx(1.0)
    assert abs(found["error_r2"].value) < 0.01


def test_it_is_the_regression_of_sklearn_on_the_other_half():
    x, recon = rows(), np.tanh(rows()) - 0.2
    parts = split_error(x, recon, seed=3)
    other = np.setdiff1d(np.arange(len(x)), parts.rows)
    assert len(parts.rows) == len(other) == 1000
    fitted = LinearRegression().fit(x[other], (x - recon)[other])
    np.testing.assert_allclose(parts.linear, fitted.predict(x[parts.rows]), rtol=1e-9, atol=1e-12)
    squared = ((x - recon) ** 2).sum(1)
    fitted = LinearRegression().fit(x[other], squared[other])
    np.testing.assert_allclose(parts.squared_norm, fitted.predict(x[parts.rows]), rtol=1e-9)
    np.testing.assert_allclose(parts.linear + parts.nonlinear, (x - recon)[parts.rows])
    found = error_decomposition(x, recon, seed=3)
    held = x[parts.rows]
    assert found["fvu"].value == fvu(held, recon[parts.rows]).value
    assert found["nonlinear_fvu"].value == fvu(held, recon[parts.rows] + parts.linear).value


def test_tensors_and_images_are_read_too_and_the_seed_chooses_the_half():
    x, recon = rows(400, 12), np.tanh(rows(400, 12))
    plain = error_decomposition(x, recon)["error_r2"].value
    images = torch.from_numpy(x).reshape(400, 3, 4), torch.from_numpy(recon).reshape(400, 3, 4)
    assert error_decomposition(*images)["error_r2"].value == plain
    assert error_decomposition(x, recon, seed=1)["error_r2"].value != plain


def test_what_cannot_be_split_is_one_sentence():
    with pytest.raises(IsthmusError, match="too few to fit"):
        error_decomposition(rows(20), rows(20))
    with pytest.raises(IsthmusError, match="same shape"):
        error_decomposition(rows(40), rows(41))
    bad = rows(40)
    bad[3, 2] = np.nan
    with pytest.raises(IsthmusError, match="the data contain NaN"):
        error_decomposition(bad, rows(40))
    with pytest.raises(IsthmusError, match="the reconstructions contain NaN"):
        error_decomposition(rows(40), bad)
