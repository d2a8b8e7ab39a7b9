"""Codes by least squares with a price on their size, or without negative entries.

Proximal gradient steps with momentum (FISTA; Beck, Teboulle 2009, doi:10.1137/080716542), which
starts anew where it points uphill (O'Donoghue, Candès 2015, doi:10.1007/s10208-013-9150-3).
"""

import torch
from torch import Tensor

from isthmus.anatomy import Part, ThresholdCode
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.shapes import Float

_BLOCK = 1 << 22
"""Entries of a block of codes."""
_EVERY = 10
"""Steps after which rows that have converged are left alone."""
_TOLERANCE = 1e-6
"""How far a step may still move a code, in units of the largest product with an atom."""
_MOST = 5000
"""Steps at most: of atoms that are nearly parallel the last digits would take more."""


def priced_codes(
    x: Float[Tensor, "rows d"],
    atoms: Float[Tensor, "width d"],
    penalty: float = 0.0,
    *,
    non_negative: bool = False,
) -> Float[Tensor, "rows width"]:
    """The ``z`` that minimises ``|x - z A|^2 / 2 + penalty |z|_1``, of each row by itself.

    ``non_negative`` asks for ``z >= 0``: without a penalty that is non-negative least squares. Of
    several minima (atoms that depend on each other) one. Entries that are zero are so exactly.
    Computed in float64, to about six digits; no gradient.
    """
    if penalty < 0.0:
        raise IsthmusError(f"penalty={penalty} must not be negative: it is the price of |z|_1")
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        rows, directions = x.detach().double(), atoms.detach().double()
        width, d = directions.shape
        small = directions @ directions.T if width <= d else directions.T @ directions
        steepest = torch.linalg.eigvalsh(small)[-1].clamp_min(torch.finfo(x.dtype).tiny)
        gram = directions @ directions.T if width <= 2 * d else None
        size = max(1, _BLOCK // width)
        parts = [
            _descended(part @ directions.T, directions, gram, steepest, penalty, non_negative)
            for part in rows.split(size)
        ]
        return torch.cat(parts).to(x.dtype)


def _descended(
    products: Tensor,
    atoms: Tensor,
    gram: Tensor | None,
    steepest: Tensor,
    penalty: float,
    non_negative: bool,
) -> Tensor:
    """Codes of rows with given ``products`` ``x A^T``; those that have converged drop out."""
    whole = torch.zeros_like(products)
    left = torch.arange(len(products), device=products.device)
    z = ahead = whole.clone()
    momentum = products.new_ones(len(products), 1)
    bound = _TOLERANCE * products.abs().amax(1, keepdim=True) / steepest
    for step in range(1, _MOST + 1):
        pull = (ahead @ gram if gram is not None else ahead @ atoms @ atoms.T) - products
        after = _shrunk(ahead - pull / steepest, penalty / steepest, non_negative)
        moved = after - z
        uphill = ((ahead - after) * moved).sum(1, keepdim=True) > 0.0
        momentum = torch.where(uphill, 1.0, momentum)
        following = 0.5 * (1.0 + (1.0 + 4.0 * momentum.square()).sqrt())
        still = (after - ahead).abs().amax(1, keepdim=True) <= bound
        ahead = after + torch.where(uphill, 0.0, (momentum - 1.0) / following) * moved
        z, momentum = after, following
        if step % _EVERY and step < _MOST:
            continue
        whole[left] = z
        going = ~still.squeeze(1)
        if not bool(going.any()):
            break
        left, z, ahead, momentum, bound, products = (
            part[going] for part in (left, z, ahead, momentum, bound, products)
        )
    return whole


def _shrunk(z: Tensor, amount: Tensor, non_negative: bool) -> Tensor:
    if non_negative:
        return (z - amount).clamp_min(0.0)
    return z - torch.minimum(z.abs(), amount) * z.sign()


class PricedCode(Part):
    """The code of each row that rebuilds it best under a price (see :func:`priced_codes`).

    It reads the rows themselves, less the encoder's centre, and the encoder's atoms; the encoder's
    bias takes no part, and no gradient leaves it.
    """

    def __init__(self, penalty: float = 0.0, *, non_negative: bool = False) -> None:
        super().__init__()
        self.penalty, self.non_negative = penalty, non_negative

    def forward(self, h: Preactivations, *, sample: bool = False) -> ThresholdCode:
        x = h.x if h.centre is None else h.x - h.centre
        z = priced_codes(x, h.weight, self.penalty, non_negative=self.non_negative)
        return ThresholdCode(z, h if sample else None)
