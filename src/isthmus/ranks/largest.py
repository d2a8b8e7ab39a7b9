"""The largest of what all ranks hold, exactly: by row, and of a whole batch."""

import torch
import torch.distributed as dist
from torch import Tensor

from isthmus.ranks.latents_held import Shard, counted, shard_held

_DIGIT = 11
"""Bits of a key that one histogram tells."""


def cut_among(key: Tensor, k: int, shard: Shard) -> Tensor:
    """Which of the entries ``(rows, own)`` are among the ``k`` largest of all ranks, bool.

    ``key`` is what entries are compared by; each rank has its own ``k`` largest of a row, or all
    that it has, in the order of its latents where they are equal. Exactly ``k`` of a row stay; of
    keys that equal the least of them those of the lowest ranks, whose latents are the lowest. Only
    keys are exchanged, ``k`` a rank, once.
    """
    # NaN counts as the largest there is, so that it stays and shows; minus infinity is no key.
    key = torch.where(key.isnan(), torch.inf, key).clamp_min(torch.finfo(key.dtype).min)
    places = min(k, shard.most)
    sent = key.new_full((len(key), places), -torch.inf)
    sent[:, : key.shape[1]] = key
    every = shard.gather(sent)  # (ranks, rows, places)
    beside = every.transpose(0, 1).flatten(1)
    cut = beside.topk(min(k, beside.shape[1]), dim=1).values[:, -1:]
    room = k - (beside > cut).sum(1, keepdim=True)
    before = (every[: shard.rank] == cut).sum((0, 2))[:, None]
    ties = key == cut
    number = before + ties.cumsum(1)
    return (key > cut) | (ties & (number <= room))


def kth_largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest, from 1, of the flat ``values`` of all ranks, a scalar.

    Exact: the digits of its bits are found one after the other, each by one histogram that is
    summed over ranks. Values are not exchanged, however many there are.
    """
    shard = shard_held()
    if shard is None:
        return values.kthvalue(len(values) - k + 1).values
    wide = values.double() if values.dtype == torch.float64 else values.float()
    size = 8 * wide.element_size()
    key = _ordered(wide, size)
    left = torch.tensor(k, dtype=torch.int64, device=values.device)
    prefix = torch.zeros((), dtype=torch.int64, device=values.device)
    inside = torch.ones_like(key, dtype=torch.bool)
    for shift in range((size - 1) // _DIGIT * _DIGIT, -1, -_DIGIT):
        first = shift + _DIGIT >= size  # the digit with the sign, below zero for half of all keys
        lowest = -(1 << (size - 1 - shift)) if first else 0
        bins = -2 * lowest if first else 1 << _DIGIT
        digit = (key >> shift) - lowest if first else (key >> shift) & (bins - 1)
        counts = torch.zeros(bins, dtype=torch.int64, device=values.device)
        counts.index_add_(0, digit, inside.to(torch.int64))
        above = shard.reduce(counts).flip(0).cumsum(0)
        place = (above < left).sum()
        left = left - torch.where(place > 0, above[(place - 1).clamp_min(0)], 0)
        bin_number = bins - 1 - place
        inside &= digit == bin_number
        prefix = prefix + ((bin_number + lowest) << shift)
    return _value(prefix, size).to(values.dtype)


def _ordered(values: Tensor, size: int) -> Tensor:
    """int64 keys in the order of floating-point values of ``size`` bits."""
    bits = values.contiguous().view(torch.int64 if size == 64 else torch.int32)
    # Below zero, larger magnitudes come first.
    flipped = torch.where(bits < 0, bits ^ torch.iinfo(bits.dtype).max, bits)
    return flipped.to(torch.int64)


def _value(key: Tensor, size: int) -> Tensor:
    """The value of which :func:`_ordered` made that key."""
    kind, real = (torch.int64, torch.float64) if size == 64 else (torch.int32, torch.float32)
    bits = key.to(kind)
    return torch.where(bits < 0, bits ^ torch.iinfo(kind).max, bits).view(real)


def dealt(wanted: int, room: int) -> int:
    """How many of the ``wanted`` places a rank gets, of ``room`` dealt to the lowest first.

    Without other ranks all that there are.
    """
    shard = shard_held()
    if shard is None:
        return room
    wishes = shard.gather(torch.tensor(wanted, dtype=torch.int64))
    return max(0, min(wanted, room - int(wishes[: shard.rank].sum())))


def anywhere(flag: bool) -> bool:
    """Whether it is so on any rank."""
    return counted(int(flag)) > 0


def lowest(value: Tensor) -> Tensor:
    """The least of the ranks' values, elementwise."""
    shard = shard_held()
    return value if shard is None else shard.reduce(value.clone(), dist.ReduceOp.MIN)
