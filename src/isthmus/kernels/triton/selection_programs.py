"""Which latents of stored products are active: the k largest of each row, or all above a cutoff.

The k largest lie in the k groups whose maxima are largest. Groups are contiguous and the first
wins where maxima tie, at every level, so that what is selected is exactly the largest values, and
of equal ones the lowest latents. A program serves one row, or one tile of it.
"""

import triton
import triton.language as tl

from isthmus.kernels.triton.key_programs import largest, score, unsigned

LEAST = tl.constexpr(-2147483648)
"""Below the key of every number."""


@triton.jit
def group_maxima(
    u, bias, priority, maxima, width, groups,
    tile: tl.constexpr, group: tl.constexpr, magnitude: tl.constexpr, weighted: tl.constexpr,
):  # fmt: skip
    """The largest key of each group of a row, ``maxima`` int32 ``(rows, groups)``."""
    row = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * tile
    at = first + tl.arange(0, tile)
    real = at < width
    x = tl.load(u + row * width + at, mask=real, other=0.0)
    _, key = score(x, bias, priority, at, real, magnitude, weighted)
    best = tl.max(tl.reshape(tl.where(real, key, LEAST), (tile // group, group)), axis=1)
    place = first // group + tl.arange(0, tile // group)
    tl.store(maxima + row * groups + place, best, mask=place < groups)


@triton.jit
def maxima_of_maxima(
    maxima, above, groups, supers, tile: tl.constexpr, group: tl.constexpr
):  # fmt: skip
    """The same of maxima, one level up."""
    row = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * tile
    at = first + tl.arange(0, tile)
    key = tl.load(maxima + row * groups + at, mask=at < groups, other=LEAST)
    best = tl.max(tl.reshape(key, (tile // group, group)), axis=1)
    place = first // group + tl.arange(0, tile // group)
    tl.store(above + row * supers + place, best, mask=place < supers)


@triton.jit
def pick_groups(maxima, picked, groups, block: tl.constexpr, k: tl.constexpr):
    """The k groups of largest maxima of a row, ascending: ``picked`` int32 ``(rows, k)``."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    key = tl.load(maxima + row * groups + at, mask=at < groups, other=LEAST)
    take, place = largest(unsigned(key, at < groups), k)
    tl.store(picked + row * k + place, at, mask=take)


@triton.jit
def pick_groups_within(
    maxima, parents, picked, groups,
    group: tl.constexpr, k: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """The same among the children of k groups one level up."""
    row = tl.program_id(0).to(tl.int64)
    j = tl.arange(0, block)
    parent = tl.load(parents + row * k + j, mask=j < k, other=0)
    at = tl.reshape(parent[:, None] * group + tl.arange(0, group)[None, :], (block * group,))
    listed = tl.reshape((j < k)[:, None] & (tl.arange(0, group) >= 0)[None, :], (block * group,))
    real = listed & (at < groups)
    key = tl.load(maxima + row * groups + at, mask=real, other=LEAST)
    take, place = largest(unsigned(key, real), k)
    tl.store(picked + row * k + place, at, mask=take)


@triton.jit
def pick_latents(
    u, bias, priority, parents, values, indices, width,
    group: tl.constexpr, k: tl.constexpr, block: tl.constexpr,
    magnitude: tl.constexpr, weighted: tl.constexpr,
):  # fmt: skip
    """The k largest latents within k groups, and their pre-activations."""
    row = tl.program_id(0).to(tl.int64)
    j = tl.arange(0, block)
    parent = tl.load(parents + row * k + j, mask=j < k, other=0)
    at = tl.reshape(parent[:, None] * group + tl.arange(0, group)[None, :], (block * group,))
    listed = tl.reshape((j < k)[:, None] & (tl.arange(0, group) >= 0)[None, :], (block * group,))
    real = listed & (at < width)
    x = tl.load(u + row * width + at, mask=real, other=0.0)
    x, key = score(x, bias, priority, at, real, magnitude, weighted)
    take, place = largest(unsigned(key, real), k)
    tl.store(values + row * k + place, x, mask=take)
    tl.store(indices + row * k + place, at.to(tl.int64), mask=take)


@triton.jit
def pick_from_row(
    u, bias, priority, values, indices, width, k: tl.constexpr, block: tl.constexpr,
    magnitude: tl.constexpr, weighted: tl.constexpr,
):  # fmt: skip
    """The k largest latents of a row that fits into one block."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    real = at < width
    x = tl.load(u + row * width + at, mask=real, other=0.0)
    x, key = score(x, bias, priority, at, real, magnitude, weighted)
    take, place = largest(unsigned(key, real), k)
    tl.store(values + row * k + place, x, mask=take)
    tl.store(indices + row * k + place, at.to(tl.int64), mask=take)


@triton.jit
def _narrow(
    u, bias, priority, row, width, cut, left, shift: tl.constexpr, bits: tl.constexpr,
    tile: tl.constexpr, magnitude: tl.constexpr, weighted: tl.constexpr,
):  # fmt: skip
    """The next ``bits`` of the k-th largest key, by a histogram of those that begin like it; and
    how many of these are still to be taken."""
    counts = tl.zeros((1 << bits,), tl.int32)
    for first in range(0, width, tile):
        at = first + tl.arange(0, tile)
        real = at < width
        x = tl.load(u + row * width + at, mask=real, other=0.0)
        _, key = score(x, bias, priority, at, real, magnitude, weighted)
        key = unsigned(key, real)
        if shift + bits < 32:
            real = real & ((key >> (shift + bits)) == cut)
        digit = ((key >> shift) & ((1 << bits) - 1)).to(tl.int32)
        counts += tl.histogram(digit, 1 << bits, mask=real)
    over = tl.sum(counts) - tl.cumsum(counts, 0)
    crossing = (over < left) & (over + counts >= left)
    digit = tl.sum(tl.where(crossing, tl.arange(0, 1 << bits), 0))
    left -= tl.sum(tl.where(crossing, over, 0))
    return (cut << bits) | digit.to(tl.uint32), left


@triton.jit
def pick_many(
    u, bias, priority, values, indices, width, k, tile: tl.constexpr, magnitude: tl.constexpr,
    weighted: tl.constexpr,
):  # fmt: skip
    """The k largest latents of a row for any k: three digits of the k-th key, then one pass."""
    row = tl.program_id(0).to(tl.int64)
    cut, left = tl.zeros((), tl.uint32), k
    cut, left = _narrow(u, bias, priority, row, width, cut, left, 21, 11, tile, magnitude, weighted)
    cut, left = _narrow(u, bias, priority, row, width, cut, left, 10, 11, tile, magnitude, weighted)
    cut, left = _narrow(u, bias, priority, row, width, cut, left, 0, 10, tile, magnitude, weighted)
    written = tl.zeros((), tl.int32)
    for first in range(0, width, tile):
        at = first + tl.arange(0, tile)
        real = at < width
        x = tl.load(u + row * width + at, mask=real, other=0.0)
        x, key = score(x, bias, priority, at, real, magnitude, weighted)
        key = unsigned(key, real)
        equal = (real & (key == cut)).to(tl.int32)
        take = (real & (key > cut)).to(tl.int32)
        take = take | (equal & (tl.cumsum(equal, 0) <= left).to(tl.int32))
        place = written + tl.cumsum(take, 0) - 1
        tl.store(values + row * k + place, x, mask=take != 0)
        tl.store(indices + row * k + place, at.to(tl.int64), mask=take != 0)
        left -= tl.sum(equal & take)
        written += tl.sum(take)


@triton.jit
def count_above(u, bias, cutoff, counts, width, tiles, tile: tl.constexpr):
    """How many pre-activations of a tile exceed their cutoffs, int32 ``(rows, tiles)``."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * tile + tl.arange(0, tile)
    real = at < width
    x = tl.load(u + row * width + at, mask=real, other=0.0).to(tl.float32)
    x += tl.load(bias + at, mask=real, other=0.0).to(tl.float32)
    active = real & (x > tl.load(cutoff + at, mask=real, other=0.0).to(tl.float32))
    tl.store(counts + row * tiles + tl.program_id(1), tl.sum(active.to(tl.int32)))


@triton.jit
def write_above(u, bias, cutoff, starts, values, indices, width, tiles, tile: tl.constexpr):
    """These and their latents, from ``starts`` int64 ``(rows, tiles)`` on: padded or ragged."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * tile + tl.arange(0, tile)
    real = at < width
    x = tl.load(u + row * width + at, mask=real, other=0.0).to(tl.float32)
    x += tl.load(bias + at, mask=real, other=0.0).to(tl.float32)
    active = real & (x > tl.load(cutoff + at, mask=real, other=0.0).to(tl.float32))
    start = tl.load(starts + row * tiles + tl.program_id(1))
    place = start + tl.cumsum(active.to(tl.int32), 0) - 1
    tl.store(values + place, x, mask=active)
    tl.store(indices + place, at.to(tl.int64), mask=active)
