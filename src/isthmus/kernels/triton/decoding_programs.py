"""Sums over the active atoms of a row, the error of these, and products with the atoms.

A program serves one row. Atoms and targets may be in half precision; sums are in float32. An entry
whose value is zero costs no read of its atom.
"""

import triton
import triton.language as tl


@triton.jit
def decode(values, indices, atoms, out, d: tl.constexpr, k, block: tl.constexpr):
    """``sum_j values[n, j] atoms[indices[n, j]]`` of a row and a block of its elements."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * block + tl.arange(0, block)
    total = tl.zeros((block,), tl.float32)
    for j in range(k):
        value = tl.load(values + row * k + j).to(tl.float32) + tl.zeros((block,), tl.float32)
        atom = tl.load(indices + row * k + j) * d
        used = (at < d) & (value != 0.0)
        total += value * tl.load(atoms + atom + at, mask=used, other=0.0).to(tl.float32)
    tl.store(out + row * d + at, total, mask=at < d)


@triton.jit
def decode_error(
    values, indices, atoms, bias, target, error, squares, products,
    d: tl.constexpr, k, block: tl.constexpr,
):  # fmt: skip
    """The error of a row, its square, and its products with the atoms, which are still near."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    real = at < d
    total = tl.load(bias + at, mask=real, other=0.0).to(tl.float32)
    for j in range(k):
        value = tl.load(values + row * k + j).to(tl.float32) + tl.zeros((block,), tl.float32)
        atom = tl.load(indices + row * k + j) * d
        used = real & (value != 0.0)
        total += value * tl.load(atoms + atom + at, mask=used, other=0.0).to(tl.float32)
    total -= tl.load(target + row * d + at, mask=real, other=0.0).to(tl.float32)
    tl.store(error + row * d + at, total, mask=real)
    tl.store(squares + row, tl.sum(total * total))
    for j in range(k):
        atom = tl.load(indices + row * k + j) * d
        near = tl.load(atoms + atom + at, mask=real, other=0.0).to(tl.float32)
        tl.store(products + row * k + j, tl.sum(total * near))


@triton.jit
def at_places(left, indices, atoms, out, d: tl.constexpr, k, block: tl.constexpr):
    """``<left[n], atoms[indices[n, j]]>`` of a row, for each j."""
    row = tl.program_id(0).to(tl.int64)
    for j in range(k):
        atom = tl.load(indices + row * k + j) * d
        total = tl.zeros((block,), tl.float32)
        for first in tl.static_range(0, d, block):
            at = first + tl.arange(0, block)
            mine = tl.load(left + row * d + at, mask=at < d, other=0.0).to(tl.float32)
            total += mine * tl.load(atoms + atom + at, mask=at < d, other=0.0).to(tl.float32)
        tl.store(out + row * k + j, tl.sum(total))
