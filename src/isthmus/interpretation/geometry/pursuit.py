"""Sparse codes for a given dictionary by gradient pursuit."""

import torch
from torch import Tensor

from isthmus.anatomy import SparseCode
from isthmus.errors import IsthmusError
from isthmus.shapes import Float, Int

ROWS = 1024
"""Rows that are coded at once."""


@torch.no_grad()
def gradient_pursuit(
    x: Float[Tensor, "rows elements"],
    atoms: Float[Tensor, "latents elements"],
    active: int | Int[Tensor, " rows"],
) -> SparseCode:
    """Codes that rebuild ``x`` as ``z @ atoms``, with at most ``active`` latents in each row.

    Gradient pursuit (Blumensath & Davies 2008, IEEE Transactions on Signal Processing 56), with
    codes kept from falling below zero as Smith (2024, inference-time optimisation of dictionaries)
    and Engels, Riggs & Tegmark (2024) use it. ``active`` times, the atom whose product with the
    residual is the largest joins the row's set, and the code moves along the gradient on that set
    to where the squared error is least. An atom may be named again, which leaves the row with
    fewer. ``active`` is one number, or one for each row (the L0 of an encoder's code, to compare
    with). The dictionary's bias has to be subtracted from ``x`` before.

    Raises :class:`IsthmusError` for fewer than one active latent, or more than there are atoms.
    """
    limit = torch.as_tensor(active).expand(len(x)).to(x.device)
    most = int(limit.max()) if len(x) else 1
    if not 1 <= most <= len(atoms):
        raise IsthmusError(
            f"{most} active latents of {len(atoms)} cannot be: use from 1 to {len(atoms)}"
        )
    parts = [
        _pursued(rows, atoms, allowed, most)
        for rows, allowed in zip(x.split(ROWS), limit.split(ROWS), strict=True)
    ]
    values = torch.cat([values for values, _ in parts]) if parts else x.new_zeros(0, most)
    indices = torch.cat([indices for _, indices in parts]) if parts else limit.new_zeros(0, most)
    return SparseCode(values, indices, len(atoms))


def _pursued(x: Tensor, atoms: Tensor, limit: Tensor, most: int) -> tuple[Tensor, Tensor]:
    rows, width = len(x), x.shape[1]
    indices = torch.zeros(rows, most, dtype=torch.int64, device=x.device)
    values, chosen_atoms = x.new_zeros(rows, most), x.new_zeros(rows, most, width)
    residual = x.clone()
    for step in range(most):
        best, which = (residual @ atoms.T).max(1)
        again = ((indices[:, :step] == which[:, None]) & chosen_atoms[:, :step].any(2)).any(1)
        joins = (step < limit) & (best > 0) & ~again
        indices[:, step] = which
        chosen_atoms[:, step] = torch.where(joins[:, None], atoms[which], 0.0)
        basis = chosen_atoms[:, : step + 1]
        gradient = torch.einsum("rkd,rd->rk", basis, residual)
        change = torch.einsum("rk,rkd->rd", gradient, basis)
        along = (change * residual).sum(1) / change.square().sum(1).clamp_min(1e-30)
        along = torch.where(step < limit, along, 0.0)
        moved = values[:, : step + 1] + along[:, None] * gradient
        values[:, : step + 1] = moved.clamp_min(0.0)
        residual = x - torch.einsum("rk,rkd->rd", values[:, : step + 1], basis)
    return values, indices
