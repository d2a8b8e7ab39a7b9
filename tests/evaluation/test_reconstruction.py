import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_squared_error, r2_score

from isthmus import IsthmusError
from isthmus.evaluation import FVU, ErrorPerElement, error_per_element, fvu
from isthmus.evaluation.reconstruction import GROUPS, group_of_row


def noisy(rows, columns, seed=0, mean=3.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(mean, rng.uniform(0.5, 2, columns), (rows, columns))
    return x, x + rng.normal(0, 0.4, x.shape)


def test_fvu_is_one_minus_variance_weighted_r2():
    x, recon = noisy(200, 6)
    result = fvu(x, recon)
    assert result.value == pytest.approx(
        1 - r2_score(x, recon, multioutput="variance_weighted"), rel=1e-12
    )
    np.testing.assert_allclose(
        result.per, 1 - r2_score(x, recon, multioutput="raw_values"), rtol=1e-11
    )


def test_rebuilding_the_mean_leaves_everything_unexplained():
    x, _ = noisy(50, 4)
    assert fvu(x, np.broadcast_to(x.mean(0), x.shape)).value == pytest.approx(1.0, rel=1e-12)
    assert fvu(x, x).value == 0.0


@given(st.lists(st.integers(0, 10_000), max_size=8), st.integers(3, 120), st.integers(0, 3))
def test_any_cutting_gives_the_fvu_of_the_whole(edges, rows, seed):
    x, recon = noisy(rows, 3, seed)
    whole, streamed, error = fvu(x, recon), FVU(), ErrorPerElement()
    for part in np.split(np.arange(rows), sorted({e % rows for e in edges} - {0})):
        streamed.update(x[part], recon[part])
        error.update(x[part], recon[part])
    got = streamed.result()
    assert got.value == pytest.approx(whole.value, rel=1e-12)
    assert got.interval == pytest.approx(whole.interval, rel=1e-9)
    np.testing.assert_allclose(got.per, whole.per, rtol=1e-12)
    assert error.result().value == pytest.approx(error_per_element(x, recon).value, rel=1e-12)


def test_up_to_32_rows_the_interval_is_the_delete_one_jackknife():
    x, recon = noisy(20, 3)
    without = []
    for i in range(20):
        keep = np.arange(20) != i
        without.append(1 - r2_score(x[keep], recon[keep], multioutput="variance_weighted"))
    se = math.sqrt(19 / 20 * np.sum((np.array(without) - np.mean(without)) ** 2))
    value = fvu(x, recon).value
    half = stats.t.ppf(0.975, 19) * se
    assert fvu(x, recon).interval == pytest.approx((value - half, value + half), rel=1e-9)


def test_interval_covers_the_truth_in_95_of_100_samples():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(600):
        x = rng.normal(size=(150, 2)) * [1.0, 2.0]
        low, high = fvu(x, x + rng.normal(0, 0.5, x.shape)).interval
        covered += low <= 0.5 / 5 <= high
    assert 0.92 < covered / 600 < 0.98


def test_interval_of_sorted_data_is_as_wide_as_of_shuffled_data():
    x, recon = noisy(4000, 1, mean=0.0)
    order = np.argsort(x[:, 0])
    sorted_, shuffled = fvu(x[order], recon[order]), fvu(x, recon)
    assert sorted_.value == pytest.approx(shuffled.value, rel=1e-12)
    widths = [high - low for low, high in (sorted_.interval, shuffled.interval)]
    assert 0.5 < widths[0] / widths[1] < 2.0


def test_jackknife_groups_do_not_depend_on_the_batches_and_are_even():
    whole = group_of_row(0, 32_000)
    parts = [group_of_row(0, 7), group_of_row(7, 100), group_of_row(107, 31_893)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    np.testing.assert_array_equal(whole[:GROUPS], np.arange(GROUPS))
    assert stats.chisquare(np.bincount(whole[GROUPS:], minlength=GROUPS)).pvalue > 0.001


def test_data_without_variance_give_nan_with_a_note():
    constant = np.full((101, 2), 0.1, np.float32)
    result = fvu(constant, constant + 1)
    assert math.isnan(result.value)
    assert np.isnan(result.per).all()
    assert result.interval is None
    assert "do not vary" in result.note


def test_a_constant_element_has_no_fraction_of_its_own():
    x, recon = noisy(30, 2)
    x[:, 1] = 7.0
    result = fvu(x, recon)
    total = np.square(x - x.mean(0)).sum()
    assert result.value == pytest.approx(np.square(x - recon).sum() / total, rel=1e-12)
    assert np.isnan(result.per).tolist() == [False, True]
    assert result.note == "1 constant elements have no fraction of their own"


def test_per_has_the_shape_of_one_row():
    x, recon = noisy(10, 12)
    images = torch.tensor(x).reshape(10, 3, 2, 2)
    result = fvu(images, torch.tensor(recon).reshape(10, 3, 2, 2))
    assert result.per.shape == (3, 2, 2)
    assert result.value == pytest.approx(fvu(x, recon).value, rel=1e-12)


def test_error_per_element_is_the_mean_squared_error():
    x, recon = noisy(40, 5)
    result = error_per_element(x, recon)
    assert result.value == pytest.approx(mean_squared_error(x, recon), rel=1e-12)
    np.testing.assert_allclose(
        result.per, mean_squared_error(x, recon, multioutput="raw_values"), rtol=1e-12
    )
    se = stats.sem(np.square(x - recon).mean(1))
    assert result.interval[1] - result.value == pytest.approx(1.959964 * se, rel=1e-6)


def test_a_reconstruction_with_nan_gives_nan_with_a_note():
    x, recon = noisy(10, 2)
    recon[3, 1] = np.nan
    assert math.isnan(fvu(x, recon).value)
    assert fvu(x, recon).note == "the reconstruction contains NaN or infinity"
    assert error_per_element(x, recon).note == "the values are not all finite"


def test_misuse_is_one_sentence():
    x, recon = noisy(10, 2)
    with pytest.raises(IsthmusError, match="empty"):
        fvu(x[:0], recon[:0])
    with pytest.raises(IsthmusError, match=r"shape \(10, 1\).*same shape"):
        fvu(x, recon[:, :1])
    with pytest.raises(IsthmusError, match="NaN or infinity"):
        fvu(np.where(x > 3, np.inf, x), recon)
    with pytest.raises(IsthmusError, match="no rows have been seen"):
        FVU().result()
