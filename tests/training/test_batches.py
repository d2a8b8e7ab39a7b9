"""Batches: every row once an epoch, in any order, the same for a seed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data import ArraySource
from isthmus.errors import IsthmusError
from isthmus.training import Batches


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
        assert batches[step][:, 0].tolist() == forward[step].tolist()


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
    sample = batches.sample(20)[:, 0]
    assert len(set(sample.tolist())) == 20
    assert torch.equal(sample, Batches(source(100), 10, 0).sample(20)[:, 0])
    assert batches.sample(500)[:, 0].tolist() == list(range(100))


def test_fewer_rows_than_a_batch_is_an_error():
    with pytest.raises(IsthmusError, match="have 5 rows, fewer than one batch of 8"):
        Batches(source(5), 8)
