import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.activations.order import block_order


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 14), st.integers(0, 99))
def test_a_permutation_that_stays_in_its_blocks(sizes, group, seed):
    order = block_order(sizes, group, seed)
    assert sorted(order.tolist()) == list(range(sum(sizes)))
    block = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))[order]
    seen, place = set(), 0
    while place < len(order):  # group by group: so many whole blocks, which come nowhere else
        blocks = []
        while place < len(order) and (len(blocks) < group or block[place] in blocks):
            if block[place] not in blocks:
                blocks.append(int(block[place]))
            place += 1
        assert not seen & set(blocks)
        seen |= set(blocks)


def test_seeds_decide():
    assert torch.equal(block_order([5, 5, 5], 2, 3), block_order([5, 5, 5], 2, 3))
    assert not torch.equal(block_order([5, 5, 5], 2, 3), block_order([5, 5, 5], 2, 4))


def test_with_all_blocks_in_a_group_every_row_is_equally_likely_everywhere():
    first = torch.stack([block_order([3, 1, 4], 3, seed)[0] for seed in range(1600)])
    counts = torch.bincount(first, minlength=8)
    assert (counts - 200).abs().max() < 5 * (200 * 7 / 8) ** 0.5


def test_the_users_generator_is_not_touched():
    before = torch.get_rng_state()
    block_order([3, 3], 1, 0)
    assert torch.equal(torch.get_rng_state(), before)
