"""The rows of dictionaries as unit vectors, their cosines in pieces, and their matchings."""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeVar

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder
from isthmus.errors import IsthmusError, unknown

Matching = Literal["auto", "hungarian", "mutual"]
Rows = TypeVar("Rows", np.ndarray, Tensor)

PIECE = 2**24
"""Cosines held at once, where not all of them are needed."""

LARGEST_ASSIGNMENT = 8192**2
"""Cosines that an assignment is solved for: it holds all of them in float64, 512 MiB."""


def decoder_rows(model: Autoencoder) -> Tensor:
    """What one unit of each latent adds to the reconstruction, ``(width, d)``, user's units."""
    rows: Tensor | Mapping[str, Tensor] | None = model.atoms()
    if rows is None:
        raise IsthmusError(
            "this model's decoder is no dictionary of one row for each latent: pass the rows "
            "themselves, (latents, elements)"
        )
    if isinstance(rows, Mapping):
        raise IsthmusError(
            f"this model has rows for each of {', '.join(map(repr, rows))}: pass those of one, "
            "model.atoms()[name]"
        )
    return rows


def encoder_rows(model: Autoencoder) -> Tensor:
    """The direction that each latent of a linear encoder reads, ``(width, d)``, user's units."""
    read = model.read_rows()
    if read is None or read[0].shape != decoder_rows(model).shape:
        raise IsthmusError(
            "this model's encoder has no row for each latent: pass (decoder, encoder) rows, each "
            "(latents, elements)"
        )
    return read[0]


def unit_rows(given: Array | Autoencoder, what: str) -> Tensor:
    """Rows ``(n, d)`` of norm 1, float32 or (where given so) float64; zero rows stay zero."""
    if isinstance(given, Autoencoder):
        given = decoder_rows(given)
    rows = given.detach() if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
    if rows.ndim != 2 or rows.numel() == 0:
        raise IsthmusError(
            f"the {what} have the shape {tuple(rows.shape)}: pass (rows, elements), one row or more"
        )
    if rows.dtype != torch.float64:
        rows = rows.to(torch.float32)
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if not bool(torch.isfinite(norms).all()):
        raise IsthmusError(f"the {what} contain NaN or infinity: fit the model anew")
    return rows / torch.where(norms > 0, norms, 1.0)


def alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both on one device and in one dtype; an error where their rows differ in length."""
    if a.shape[1] != b.shape[1]:
        raise IsthmusError(
            f"rows of {a.shape[1]} elements cannot be compared with rows of {b.shape[1]}: pass "
            "rows of one length"
        )
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(a.device, dtype)


def nearest(
    a: Tensor, b: Tensor, *, absolute: bool = False, skip_self: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The largest cosine of each row of ``a`` with a row of ``b``, and that row's number.

    Both ``(len(a),)``. Rows are of norm 1. ``absolute`` takes the sign off; ``skip_self`` leaves
    out row i of ``b`` for row i of ``a``.
    """
    values, numbers = [], []
    for start, block in cosines(a, b):
        if absolute:
            block = block.abs_()
        if skip_self:
            block.diagonal(start).fill_(-torch.inf)
        best = block.max(1)
        values.append(best.values.cpu().clamp(-1, 1))
        numbers.append(best.indices.cpu())
    return torch.cat(values).double().numpy(), torch.cat(numbers).numpy()


def neighbours(units: Rows, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``n`` other rows of largest cosine with each, the largest first, and the cosines.

    Both ``(rows, n)``, fewer columns where there are fewer rows. ``units`` are of norm 1. Memory is
    bounded; the time grows with the square of the number of rows.
    """
    n = min(n, len(units) - 1)
    numbers, values = [], []
    for start, part in cosines(units, units):
        block = torch.as_tensor(part)
        block.diagonal(start).fill_(-torch.inf)
        best = block.topk(n, dim=1)
        numbers.append(best.indices.cpu().numpy())
        values.append(best.values.clamp(-1, 1).cpu().numpy())
    return np.concatenate(numbers), np.concatenate(values)


def cosines(a: Rows, b: Rows) -> Iterator[tuple[int, Rows]]:
    """``a @ b.T`` piece by piece: where a piece begins, and ``(rows of it, len(b))``."""
    step = max(1, PIECE // len(b))
    for start in range(0, len(a), step):
        yield start, a[start : start + step] @ b.T


def assigned(a: Tensor, b: Tensor, *, absolute: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The one-to-one pairing of the largest summed cosine: numbers into ``b`` and cosines.

    Both ``(len(a),)``; where ``b`` is the shorter, rows without a partner have -1 and NaN.
    """
    cosines = (a @ b.T).clamp_(-1, 1).cpu().double().numpy()
    if absolute:
        np.abs(cosines, out=cosines)
    left, right = linear_sum_assignment(cosines, maximize=True)
    numbers, values = np.full(len(a), -1), np.full(len(a), np.nan)
    numbers[left], values[left] = right, cosines[left, right]
    return numbers, values


def mutual(a: Tensor, b: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows that are each other's nearest: as `assigned`, in memory linear in the rows."""
    values, partners = nearest(a, b)
    back = nearest(b, a)[1]
    paired = back[partners] == np.arange(len(a))
    return np.where(paired, partners, -1), np.where(paired, values, np.nan)


def chosen(matching: Matching, largest: int) -> Literal["hungarian", "mutual"]:
    """The matching to use where the largest comparison has that many cosines."""
    if matching not in ("auto", "hungarian", "mutual"):
        raise unknown("matching", matching, ("auto", "hungarian", "mutual"))
    if matching != "auto":
        return matching
    return "hungarian" if largest <= LARGEST_ASSIGNMENT else "mutual"
