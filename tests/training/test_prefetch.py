"""Reading ahead changes no run; rows travel as they are stored."""

import threading

import numpy as np
import pytest
import torch
import toys

import zoo
from isthmus.anatomy import Signal, Source
from isthmus.data import Subset, as_source
from isthmus.training import prefetch
from isthmus.training.batches import Batches
from isthmus.training.many import Together


def half(dtype):
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    return as_source(rows.numpy() if dtype == torch.float16 else rows)


@pytest.mark.parametrize("recipe", ["sparse", "adversarial", "deterministic"])
@pytest.mark.parametrize("steps", [1, 17])
def test_the_same_bits_with_and_without(recipe, steps):
    models = []
    for ahead in (False, True):
        run = toys.trainer(toys.fresh(recipe), steps=steps)
        run.ahead = ahead
        models.append(zoo.sha(run.run()))
    assert models[0] == models[1]
    assert not [t for t in threading.enumerate() if t.name.startswith("isthmus-prefetch")]


def test_several_on_one_pass_too():
    bits = []
    for ahead in (False, True):
        trainers = {n: toys.trainer(toys.fresh(n), steps=7) for n in ("sparse", "deterministic")}
        together = Together(trainers)
        together.ahead = ahead
        bits.append({name: zoo.sha(model) for name, model in together.run().items()})
    assert bits[0] == bits[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("part", [False, True])
def test_rows_travel_as_they_are_stored(dtype, part):
    source = half(dtype)
    source = Subset(source, torch.arange(39, -1, -1)) if part else source
    batches = Batches(source, 8, 0)
    assert source.by_thread
    ahead = prefetch.Prefetch(batches, torch.device("cpu"), 12)
    try:
        for step in (0, 1, 2, 5, 4, 11):  # a stage may be skipped
            travelling = prefetch.narrow(source, batches.index(step))
            assert travelling.x.dtype == dtype
            mine, wanted = ahead[step], batches[step]
            assert mine.x.dtype == torch.float32
            assert torch.equal(mine.x, wanted.x)
            assert torch.equal(mine.rows, wanted.rows)
    finally:
        ahead.close()


def test_what_is_given_and_masked_travels_too():
    class Masked(Source):
        signal = Signal("vector", (3,))

        def __len__(self):
            return 9

        def rows(self, index):
            return index[:, None].float().expand(-1, 3).contiguous()

        def batch(self, index):
            found = super().batch(index)
            found.mask, found.given["y"] = index % 2 == 0, index * 2
            return found

    source = Masked()
    assert not source.by_thread
    batches = Batches(source, 4, 0)
    with prefetch.reading(batches, torch.device("cpu"), 2, True) as ahead:
        found = ahead[1]
    index = batches.index(1)
    assert torch.equal(found.mask, index % 2 == 0)
    assert torch.equal(found.given["y"], index * 2)


def test_an_error_of_a_source_comes_at_its_step():
    class Fails(Source):
        signal = Signal("vector", (3,))

        def __len__(self):
            return 64

        def rows(self, index):
            if index.max() > 60:
                raise OSError("the disk is gone")
            return torch.zeros(len(index), 3)

    batches = Batches(Fails(), 4, 0)
    bad = next(step for step in range(16) if batches.index(step).max() > 60)
    with prefetch.reading(batches, torch.device("cpu"), 16, True) as ahead:
        for step in range(bad):
            assert len(ahead[step]) == 4
        with pytest.raises(OSError, match="the disk is gone"):
            ahead[bad]


def test_in_main_memory_nothing_is_read_ahead():
    batches = Batches(as_source(np.zeros((8, 2), np.float32)), 4, 0)
    with prefetch.reading(batches, torch.device("cpu"), 2, None) as plain:
        assert plain is batches
