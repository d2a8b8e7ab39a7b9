"""A dictionary held by several ranks is trained as by one: every kind, to the rounding."""

import pytest
import torch

from isthmus.ranks import Shard, holding
from isthmus.training.sharded_stepper import ShardedStepper
from isthmus.training.sharding import shard_model
from ranks.kinds import FEATURES, KINDS, STEPS, WIDTH, built, data, trained
from ranks.pool import every_rank

ONE_OF_EACH = ["topk", "abstopk", "batchtopk", "matryoshka", "jumprelu", "gated", "relu-l1"]


def _trained(rank, count, names, dtype):
    runs = {name: trained(rank, count, name, dtype) for name in names}
    return runs if rank == 0 else None


def _check(names, count, dtype, tolerance):
    many = every_rank(count, _trained, names, dtype, timeout=300.0)[0]
    for name in names:
        losses, state = trained(0, 1, name, dtype)
        their_losses, their_state = many[name]
        assert state.keys() == their_state.keys()
        for key, tensor in state.items():
            theirs = their_state[key]
            assert theirs.dtype == tensor.dtype
            if not tensor.is_floating_point():  # who fired when: the same latents at every step
                assert torch.equal(theirs, tensor), (name, key)
            gap = (theirs.double() - tensor.double()).abs().max()
            assert gap <= tolerance * max(1.0, float(tensor.double().abs().max())), (name, key, gap)
        for ours, other in zip(losses, their_losses, strict=True):
            for term, value in ours.items():
                assert other[term] == pytest.approx(value, rel=100 * tolerance, abs=tolerance), name


def test_one_of_each_on_two_ranks_is_that_of_one():
    _check(ONE_OF_EACH, 2, torch.float64, 1e-12)


def test_four_ranks_are_one():
    _check(["batchtopk"], 4, torch.float64, 1e-12)


def test_single_precision_agrees_to_its_own():
    _check(["topk"], 2, torch.float32, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_kind_on_several_ranks_is_that_of_one(count, dtype):
    _check(list(KINDS), count, dtype, 1e-12 if dtype == torch.float64 else 2e-5)


def _twice(rank, count, name):
    first, second = (trained(rank, count, name, torch.float32) for _ in range(2))
    same = all(torch.equal(first[1][key], second[1][key]) for key in first[1])
    return same and first[0] == second[0], first[1]


def test_the_same_ranks_end_on_the_same_bits_and_every_rank_has_them():
    (same, one), (same_too, two) = every_rank(2, _twice, "topk")
    assert same
    assert same_too
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_what_is_compared_is_worth_comparing():
    """AuxK has dead latents, clipping cuts and averages lag: else equality would say little."""
    losses, state = trained(0, 1, "topk")
    assert losses[-1]["auxk"] > 0.0
    assert not torch.equal(state["average.decoder.weight"], state["decoder.weight"])
    model, training = built("topk")
    assert training.clip < 1.0
    assert losses[0]["loss"] != losses[-1]["loss"]
    assert len(losses) == STEPS
    assert len(model.decoder.weight) == WIDTH


def _few(rank, count):
    return trained(rank, count, "topk", torch.float64, 3, width=5 + 2)


def test_a_rank_may_hold_fewer_latents_than_a_row_has():
    """Seven latents, six of a row: each of four ranks has one or two."""
    losses, state = trained(0, 1, "topk", torch.float64, 3, width=7)
    theirs, their_state = every_rank(4, _few)[0]
    assert theirs[-1]["loss"] == pytest.approx(losses[-1]["loss"], rel=1e-12)
    assert torch.allclose(their_state["decoder.weight"], state["decoder.weight"], atol=1e-12)


def _numbers_kept(rank, count):
    """How many numbers a rank keeps in weights and in the memory of its optimiser."""
    model, training = built("topk")
    shard = Shard(rank, count, WIDTH)
    shard_model(model, shard)
    stepper = ShardedStepper(model, training, shard, total=STEPS, rows=4096)
    with holding(shard):
        stepper.train()
        stepper.step(data(0), 0)
    moments = [
        tensor.numel()
        for memory in stepper.optimisers["model"].state.values()
        for tensor in memory.values()
    ]
    return sum(p.numel() for p in model.parameters()) + sum(moments)


def test_weights_and_moments_are_divided_by_the_ranks():
    every = every_rank(2, _numbers_kept)
    rows = WIDTH * (2 * FEATURES + 1)  # both weights and the encoder's bias
    whole = 3 * FEATURES + 4  # the decoder's bias with its moments, and a count of steps each
    assert sum(every) == 3 * rows + 2 * whole
    assert max(every) - min(every) == 3 * (2 * FEATURES + 1)
