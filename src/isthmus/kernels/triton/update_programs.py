"""The gradient of a weight by its rows, and Adam's step on them.

The gradient is ``sum of values[e] dense[rows[e]]`` over the entries of a latent, which are sorted
by latent. So that a latent that fires on every row does not keep one program busy while all others
are done, whole segments of entries are summed beforehand, each by a program of its own, and a row
adds these sums in order.
"""

import triton
import triton.language as tl


@triton.jit
def _weighted(values, rows, dense, first, last, at, real, d: tl.constexpr, total):
    """``total`` and the entries from ``first`` up to ``last``."""
    for entry in range(first, last):
        value = tl.load(values + entry).to(tl.float32)
        row = tl.load(rows + entry).to(tl.int64)
        total += value * tl.load(dense + row * d + at, mask=real, other=0.0).to(tl.float32)
    return total


@triton.jit
def sum_segments(
    values, rows, latents, dense, sums, entries, width,
    d: tl.constexpr, segment: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Sums of the segments that lie within one latent, ``sums`` float32 ``(segments, d)``."""
    number = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * block + tl.arange(0, block)
    first = number * segment
    last = first + segment
    whole = last <= entries
    one = tl.load(latents + first, mask=whole, other=width)
    other = tl.load(latents + last - 1, mask=whole, other=width)
    inside = whole & (one == other) & (one < width)
    if inside:
        total = tl.zeros((block,), tl.float32)
        total = _weighted(values, rows, dense, first, last, at, at < d, d, total)
        tl.store(sums + number * d + at, total, mask=at < d)


@triton.jit
def gathered(
    values, rows, dense, offsets, sums, latent, at, real, live,
    d: tl.constexpr, segment: tl.constexpr, total,
):  # fmt: skip
    """``total`` and a latent's gradient: what precedes its whole segments, these, the rest."""
    first = tl.load(offsets + latent)
    last = tl.where(live, tl.load(offsets + latent + 1), first)
    begin, end = (first + segment - 1) // segment, last // segment
    whole = end > begin
    head = tl.where(whole, begin * segment, last)
    total = _weighted(values, rows, dense, first, head, at, real, d, total)
    for number in range(begin, tl.where(whole, end, begin)):
        total += tl.load(sums + number * d + at, mask=real, other=0.0)
    tail = tl.where(whole, end * segment, last)
    return _weighted(values, rows, dense, tail, last, at, real, d, total)


@triton.jit
def row_gradient(
    values, rows, dense, offsets, sums, out,
    d: tl.constexpr, segment: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """The gradient of one latent's row and a block of its elements."""
    latent = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * block + tl.arange(0, block)
    total = tl.zeros((block,), tl.float32)
    total = gathered(
        values, rows, dense, offsets, sums, latent, at, at < d, True, d, segment, total
    )
    tl.store(out + latent * d + at, total, mask=at < d)


@triton.jit
def row_adam(
    values, rows, dense, offsets, sums, gradient, weight, mean, square, half, skip,
    step, keep1, beta2, keep2, eps, root, decay,
    d: tl.constexpr, segment: tl.constexpr, block: tl.constexpr, unit: tl.constexpr,
    sparse: tl.constexpr, whole: tl.constexpr, halved: tl.constexpr,
):  # fmt: skip
    """Gradient, projection, Adam's step and normalisation of one latent's row, in place.

    ``step`` is lr / (1 - beta1^t), ``root`` the square root of 1 - beta2^t, ``keep`` 1 - beta.
    """
    latent = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    held = tl.load(skip).to(tl.float32) + tl.zeros((block,), tl.float32)
    real = (at < d) & (held == 0.0)
    live = tl.load(skip) == 0
    place = latent * d + at
    g = tl.zeros((block,), tl.float32)
    if whole:
        g += tl.load(gradient + place, mask=real, other=0.0).to(tl.float32)
    if sparse:
        g = gathered(values, rows, dense, offsets, sums, latent, at, real, live, d, segment, g)
    w = tl.load(weight + place, mask=real, other=0.0).to(tl.float32)
    if unit:
        g -= tl.sum(g * w) * w
    g += decay * w
    m = tl.load(mean + place, mask=real, other=0.0)
    m += keep1 * (g - m)
    s = beta2 * tl.load(square + place, mask=real, other=0.0) + keep2 * g * g
    w -= step * m / (tl.sqrt(s) / root + eps)
    if unit:
        w /= tl.maximum(tl.sqrt(tl.sum(tl.where(real, w * w, 0.0))), 1e-12)
    tl.store(weight + place, w, mask=real)
    tl.store(mean + place, m, mask=real)
    tl.store(square + place, s, mask=real)
    if halved:
        tl.store(half + place, w, mask=real)


@triton.jit
def sum_entries(values, offsets, out, block: tl.constexpr):
    """The sum of one latent's entries, ``block`` of them at a time."""
    latent = tl.program_id(0).to(tl.int64)
    first, last = tl.load(offsets + latent), tl.load(offsets + latent + 1)
    total = tl.zeros((block,), tl.float32)
    for start in range(first, last, block):
        at = start + tl.arange(0, block)
        total += tl.load(values + at, mask=at < last, other=0.0).to(tl.float32)
    tl.store(out + latent, tl.sum(total))
