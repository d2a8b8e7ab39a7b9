"""Batches: every row once an epoch, in any order, the same for a seed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.anatomy import Source
from isthmus.data import ArraySource, Subset
from isthmus.errors import IsthmusError
from isthmus.training import Batches
from isthmus.training.seeding import mix


def source(rows):
    return ArraySource(torch.arange(rows, dtype=torch.float32)[:, None].repeat(1, 2))


@given(st.integers(2, 40), st.integers(1, 40), st.integers(0, 5))
def test_every_row_at_most_once_an_epoch(rows, size, seed):
    size = min(rows, size)
    batches = Batches(source(rows), size, seed)
    per_epoch = rows // size
    assert batches.steps_per_epoch == per_epoch
    for epoch in range(3):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        seen = torch.cat([batches.index(step) for step in steps])
        assert len(set(seen.tolist())) == per_epoch * size
        assert rows - len(seen) < size  # only the remainder sits out
        assert seen.min() >= 0
        assert seen.max() < rows


@given(st.integers(0, 3), st.permutations(range(12)))
def test_batches_can_be_asked_for_in_any_order(seed, order):
    forward = [Batches(source(20), 6, seed).index(step) for step in range(12)]
    batches = Batches(source(20), 6, seed)
    for step in order:
        assert torch.equal(batches.index(step), forward[step])
        assert torch.equal(batches[step].rows, forward[step])
        assert batches[step].x[:, 0].tolist() == forward[step].tolist()


def test_epochs_and_seeds_differ():
    batches = Batches(source(50), 50, 0)
    assert not torch.equal(batches.index(0), batches.index(1))
    assert not torch.equal(batches.index(0), Batches(source(50), 50, 1).index(0))


def test_over_many_epochs_every_row_is_seen_equally():
    batches = Batches(source(10), 4, 0)
    counts = torch.bincount(torch.cat([batches.index(s) for s in range(2 * 4000)]), minlength=10)
    assert counts.sum() == 32_000
    assert (counts - 3200).abs().max() < 5 * (3200 * 0.2) ** 0.5


def test_the_users_generator_is_not_touched():
    before = torch.get_rng_state()
    batches = Batches(source(10), 4, 0)
    batches.index(0), batches.sample(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sample_for_setting_up():
    batches = Batches(source(100), 10, 0)
    sample = batches.sample(20).x[:, 0]
    assert len(set(sample.tolist())) == 20
    assert torch.equal(sample, Batches(source(100), 10, 0).sample(20).x[:, 0])
    assert batches.sample(500).x[:, 0].tolist() == list(range(100))


def test_fewer_rows_than_a_batch_is_an_error():
    with pytest.raises(IsthmusError, match="have 5 rows, fewer than one batch of 8"):
        Batches(source(5), 8)


class Regions(Source):
    """Rows that are best read ten at a time."""

    def __init__(self, rows):
        self.of, self.signal, self.asked = source(rows), source(rows).signal, []

    def __len__(self):
        return len(self.of)

    def rows(self, index):
        self.asked.append(index)
        return self.of.rows(index)

    def order(self, seed):
        generator = torch.Generator().manual_seed(seed)
        regions = torch.randperm(len(self) // 10, generator=generator)
        return torch.cat([10 * r + torch.randperm(10, generator=generator) for r in regions])


def test_a_sources_own_order_is_kept_and_a_batch_ascends():
    held = Regions(60)
    batches = Batches(held, 5, seed=1)
    for epoch in range(3):
        index = [batches.index(epoch * 12 + step) for step in range(12)]
        assert sorted(torch.cat(index).tolist()) == list(range(60))
        for first, second in zip(index[::2], index[1::2], strict=True):
            assert len({row // 10 for row in (first.tolist() + second.tolist())}) == 1
            assert (first.diff() > 0).all()
    assert not torch.equal(batches.index(0), batches.index(12))
    assert torch.equal(batches.index(13), Batches(Regions(60), 5, seed=1).index(13))


def test_setting_up_reads_one_region_where_the_source_has_an_order():
    held = Regions(60)
    Batches(held, 5, seed=1).sample(10)
    (asked,) = held.asked
    assert len({row // 10 for row in asked.tolist()}) == 1
    assert (asked.diff() > 0).all()


def test_a_part_of_a_source_has_its_order_or_none():
    part = Subset(Regions(60), torch.arange(0, 60, 2))
    batches = Batches(part, 5, seed=1)
    for step in range(6):
        assert len({row // 5 for row in batches.index(step).tolist()}) == 1
    plain = Subset(source(60), torch.arange(0, 60, 2))
    assert plain.order(1) is None
    assert torch.equal(Batches(plain, 5, 1).index(3), Batches(source(30), 5, 1).index(3))


def test_without_an_order_the_permutation_is_the_one_it_always_was():
    generator = torch.Generator().manual_seed(mix(3, 1, 0))
    assert torch.equal(Batches(source(30), 30, 3).index(0), torch.randperm(30, generator=generator))
