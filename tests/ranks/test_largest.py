"""The largest over ranks: held against one process that has everything."""

import numpy as np
import pytest
import torch

from isthmus.ranks import Shard, counted, cut_among, dealt, holding, kth_largest, lowest, summed
from ranks.pool import every_rank

WIDTH = 23


def keys():
    """Rows with many equal values, with infinities, and one with NaN."""
    draw = torch.Generator().manual_seed(3)
    key = torch.randint(-3, 4, (40, WIDTH), generator=draw).double()
    key[5] = 1.0
    key[6, 4], key[7, 3:9] = torch.inf, -torch.inf
    key[8, 11] = torch.nan
    return key


def _chosen(rank, count, k):
    shard = Shard(rank, count, WIDTH)
    own = keys()[:, shard.start : shard.stop]
    most = min(k, own.shape[1])
    best, places = own.sort(dim=1, descending=True, stable=True)
    kept = cut_among(best[:, :most], k, shard)
    chosen = torch.zeros_like(own, dtype=torch.bool)
    return chosen.scatter(1, places[:, :most], kept)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("k", [1, 4, 17, WIDTH])
def test_exactly_k_of_a_row_stay_and_of_equal_values_the_lowest_latents(count, k):
    chosen = torch.cat(every_rank(count, _chosen, k), 1)
    key = torch.where(keys().isnan(), torch.inf, keys())
    expected = torch.zeros_like(chosen)
    expected.scatter_(1, key.sort(dim=1, descending=True, stable=True).indices[:, :k], True)
    assert torch.equal(chosen, expected)


def _numbers(dtype):
    draw = torch.Generator().manual_seed(4)
    values = torch.randn(501, generator=draw, dtype=torch.float64) ** 5
    values[100:200] = values[0]  # many equal ones
    values[200:204] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf], dtype=torch.float64)
    return values.to(dtype)


def _kth(rank, count, dtype, places):
    shard = Shard(rank, count, 501)
    with holding(shard):
        return [kth_largest(shard.rows(_numbers(dtype)), k) for k in places]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_kth_largest_is_that_of_all_values(dtype):
    places = [1, 2, 3, 77, 250, 251, 400, 500, 501]
    ordered = np.sort(_numbers(dtype).double().numpy())[::-1]
    for found in every_rank(3, _kth, dtype, places):
        assert all(value.dtype == dtype for value in found)
        assert [float(v) for v in found] == [ordered[k - 1] for k in places]


def test_with_one_process_the_kth_largest_is_pytorchs():
    values = _numbers(torch.float32)
    assert kth_largest(values, 7) == values.kthvalue(len(values) - 6).values


def _small(rank, count):
    with holding(Shard(rank, count, WIDTH)):
        part = torch.full((3,), float(rank + 1), requires_grad=True)
        whole = summed(2.0 * part)
        (whole * torch.arange(3.0)).sum().backward()
        return (
            counted(rank + 5),
            [dealt(2, room) for room in (0, 1, 3, 100)],
            float(lowest(torch.tensor(7.0 - rank))),
            whole.tolist(),
            part.grad.tolist(),
        )


def test_counts_places_and_sums_over_ranks():
    first, second = every_rank(2, _small)
    assert first[:1] + first[2:] == second[:1] + second[2:]
    assert first[0] == 11
    assert (first[1], second[1]) == ([0, 1, 2, 2], [0, 0, 1, 2])
    assert first[2] == 6.0
    assert first[3] == [6.0, 6.0, 6.0]
    assert first[4] == [0.0, 2.0, 4.0]  # of its own part alone


def test_without_ranks_nothing_is_done():
    part = torch.ones(2)
    assert summed(part) is part
    assert lowest(part) is part
    assert (counted(3), dealt(5, 2)) == (3, 2)
