"""Measures of tokens, by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from isthmus.anatomy import Batch, Ragged
from isthmus.errors import IsthmusError
from isthmus.evaluation import TokenMeasures
from isthmus.evaluation.token_measures import same_rows


def filled():
    measures = TokenMeasures(bytes_=True)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    right = torch.tensor([[True, False, True], [True, True, True]])
    measures.update(
        torch.tensor([-3.0, -1.0]), right, mask, torch.tensor([2, 1]), torch.tensor([False, True])
    )
    whole = torch.ones(2, 3, dtype=torch.bool)
    measures.update(torch.tensor([-0.5, -6.0]), whole, None, 3, torch.tensor([True, True]))
    return {result.name: result for result in measures.results()}


def test_sums_over_tokens():
    found = filled()
    assert found["exact_match"].value == 0.75
    assert found["token_accuracy"].value == pytest.approx(10 / 11)  # a masked one counts nothing
    assert found["nats_per_token"].value == pytest.approx(10.5 / 11)
    assert f"{math.exp(10.5 / 11):.4g}" in found["nats_per_token"].note
    assert found["bits_per_byte"].value == pytest.approx(10.5 / math.log(2) / 9)
    assert all(result.n == 4 for result in found.values())


def test_intervals():
    found = filled()
    wilson = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert found["exact_match"].interval == pytest.approx((wilson.low, wilson.high))
    nats, told = np.array([3, 1, 0.5, 6]), np.array([3, 2, 3, 3])
    ratio = nats.sum() / told.sum()
    error = np.std(nats - ratio * told, ddof=1) / math.sqrt(4) / told.mean()
    low, high = found["nats_per_token"].interval
    assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=1e-6)


def test_bits_per_byte_are_of_bytes():
    measures = TokenMeasures()
    measures.update(torch.zeros(1), torch.ones(1, 2) > 0, None, 2, torch.ones(1) > 0)
    assert "bits_per_byte" not in {result.name for result in measures.results()}
    with pytest.raises(IsthmusError, match="no rows"):
        TokenMeasures().results()


def test_rows_are_the_same_with_their_lengths():
    x = torch.tensor([[1, 2, 0], [3, 0, 0], [1, 2, 3]])
    mask = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    recon = Ragged(torch.tensor([[1, 2], [3, 0], [1, 2]]), torch.tensor([2, 2, 2]))
    assert same_rows(recon, Batch(x, mask=mask)).tolist() == [True, False, False]
    longer = Ragged(torch.tensor([[1, 2, 0, 5]] * 3), torch.tensor([3, 3, 4]))
    rows = Batch(torch.tensor([[1, 2, 0]] * 3))
    assert same_rows(longer, rows).tolist() == [True, True, False]
    plain = torch.tensor([[1, 2, 9], [3, 0, 0], [1, 0, 3]])
    assert same_rows(plain, Batch(x, mask=mask)).tolist() == [True, True, False]
