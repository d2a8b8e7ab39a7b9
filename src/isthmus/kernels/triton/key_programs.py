"""Numbers as integers that compare like them, and the k largest of a block."""

import triton
import triton.language as tl


@triton.jit
def key_of(x):
    """float32 as an int32 that compares like it: NaN is the largest, -0 is 0."""
    x = tl.where(x == 0.0, 0.0, x)
    i = x.to(tl.int32, bitcast=True)
    return tl.where(x != x, 0x7FFFFFFF, i ^ ((i >> 31) & 0x7FFFFFFF))


@triton.jit
def score(u, bias, priority, at, real, magnitude: tl.constexpr, weighted: tl.constexpr):
    """Pre-activations of a block, and the keys that they are compared by."""
    u = u.to(tl.float32) + tl.load(bias + at, mask=real, other=0.0).to(tl.float32)
    by = u
    if magnitude:
        by = tl.abs(by)
    if weighted:
        by = by * tl.load(priority + at, mask=real, other=0.0).to(tl.float32)
    return u, key_of(by)


@triton.jit
def unsigned(key, real):
    """Keys as uint32, in their order; 0, below every number's, where there is nothing."""
    return tl.where(real, (key ^ (-2147483648)).to(tl.uint32, bitcast=True), 0)


@triton.jit
def kth_largest(keys, k: tl.constexpr):
    """The k-th largest of a block of uint32, exactly: one bit of it at a time."""
    cut = tl.zeros((), tl.uint32)
    for bit in tl.static_range(32):
        higher = cut | (0x80000000 >> bit)
        cut = tl.where(tl.sum((keys >= higher).to(tl.int32)) >= k, higher, cut)
    return cut


@triton.jit
def largest(keys, k: tl.constexpr):
    """Which of a flat block of uint32 are the k largest, the first ones where they tie, and the
    places of these in the output."""
    cut = kth_largest(keys, k)
    above, equal = (keys > cut).to(tl.int32), (keys == cut).to(tl.int32)
    room = k - tl.sum(above)
    take = above | (equal & (tl.cumsum(equal, 0) <= room).to(tl.int32))
    return take != 0, tl.cumsum(take, 0) - 1
