"""Shuffled orders that read one region of the data at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor


def block_order(sizes: Sequence[int] | Tensor, group: int, seed: int) -> Tensor:
    """A permutation of the rows of consecutive blocks, int64, that is local in blocks.

    ``sizes`` are the blocks' rows. The blocks are shuffled and taken ``group`` at a time; within
    such a group the single rows are shuffled. With all blocks in one group every permutation of
    the rows is possible, and equally likely.
    """
    counts = torch.as_tensor(sizes, dtype=torch.int64)
    ends = counts.cumsum(0)
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(int(counts.sum()), dtype=torch.int64)
    blocks = torch.randperm(len(counts), generator=generator)
    start = 0
    for block in blocks.split(group):
        rows = [
            torch.arange(end - size, end)
            for end, size in zip(ends[block].tolist(), counts[block].tolist(), strict=True)
        ]
        together = torch.cat(rows)
        shuffled = torch.randperm(len(together), generator=generator)
        order[start : start + len(together)] = together[shuffled]
        start += len(together)
    return order
