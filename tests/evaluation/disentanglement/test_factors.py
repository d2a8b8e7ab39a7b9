import numpy as np
import pytest

from isthmus import IsthmusError
from isthmus.evaluation.disentanglement import mig
from isthmus.evaluation.disentanglement.factors import table, tables

from .grids import grid, noise


def test_what_counts_as_discrete():
    repeated, distinct = np.arange(100) // 5, np.linspace(0, 1, 100)
    found = table(
        np.stack([repeated, distinct, np.arange(100) // 4], 1).astype(float), "codes", None
    )
    assert found.discrete.tolist() == [True, False, False]
    assert table(np.arange(100), "codes", None).discrete.all()
    assert table(np.arange(100) > 3, "codes", None).discrete.all()
    assert table(np.array(["a", "b"]), "codes", None).discrete.all()
    assert table(np.arange(100), "codes", False).discrete.tolist() == [False]
    assert table(noise(9), "codes", [True, False, True]).discrete.tolist() == [True, False, True]


def test_bins_are_those_of_a_histogram():
    values = noise(300, 2)
    labels = table(values, "codes", False).labels(20)
    for column, label in zip(values.T, labels.T, strict=True):
        counts = np.histogram(column, 20)[0]
        np.testing.assert_array_equal(np.bincount(label), counts[counts > 0])


def test_rows_are_sorted_together_by_factors_first():
    codes, factors = noise(50, 2), grid(2, 5, repeats=5)
    z, v = tables(codes, factors, None, None)
    assert sorted(map(tuple, np.concatenate([factors, codes], 1))) == list(
        map(tuple, np.concatenate([v.values, z.values], 1))
    )


def test_minus_zero_is_zero():
    assert not np.signbit(table(np.array([-0.0, 1.0]), "codes", None).values).any()


def test_bins():
    with pytest.raises(IsthmusError, match="n_bins is 1"):
        mig(noise(9), noise(9), n_bins=1)
