"""Matching pursuit: one atom after the other, each chosen by what the others have left over.

Mallat, Zhang, Matching pursuits with time-frequency dictionaries, 1993; orthogonal: Pati,
Rezaiifar, Krishnaprasad 1993. Unrolled as an encoder: Costa, Fel, Lubana, Tolooshams, Ba, From flat
to hierarchical, 2025, arXiv:2506.03093.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from isthmus.anatomy import Autoencoder, Look, Part, Rule, Ruled, SparseCode
from isthmus.anatomy.rule import Activation
from isthmus.bottlenecks.dictionary_start import start_at_median
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.shapes import Float, Int

_BLOCK = 1 << 22
"""Numbers of a block of rows that are held at once."""
_GRAM = 1 << 26
"""Entries of the atoms' Gram matrix up to which it is held: products are then brought up to date by
its rows, else computed anew from what is left over."""
_RIDGE = 1e-6
"""Added to the squared lengths by orthogonal pursuit: an atom may lie in the others' span."""


def matching_pursuit(
    x: Float[Tensor, "rows d"],
    atoms: Float[Tensor, "width d"],
    k: int,
    *,
    orthogonal: bool = False,
    tolerance: float = 0.0,
    signed: bool = False,
    until_repeat: bool = False,
) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
    """Coefficients and latents of the k steps of each row, in the order of the steps.

    A step takes the atom with the largest product ``<r, a>`` with what is left over, ``r``, adds
    the product to its coefficient and subtracts the atom so many times: an atom of norm 1 then
    leaves nothing of itself. ``orthogonal`` fits all coefficients anew by least squares instead,
    and takes no atom twice. ``signed`` takes the atom with the largest absolute product. A row ends
    before k steps where no product is positive (of ``signed``: none differs from zero), behind a
    step that leaves ``|r| <= tolerance`` (0: never), and, with ``until_repeat``, behind one that
    takes an atom for the second time; its places are then filled up with the coefficient 0 at
    latent 0. An atom that is taken several times has the sum at its first place. Gradients reach
    ``x`` and ``atoms``; what is taken is held fixed.
    """
    if not k > 0:
        raise IsthmusError(f"k={k} must be positive: it is the number of steps")
    if orthogonal and k > min(atoms.shape):
        raise IsthmusError(
            f"orthogonal pursuit takes at most {min(atoms.shape)} of these atoms: lower k={k}"
        )
    with torch.autocast(x.device.type, enabled=False):  # steps would add up roundings
        with torch.no_grad():
            indices = _pursued(
                x.detach(), atoms.detach(), k, orthogonal, tolerance, signed, until_repeat
            )
        values: Tensor = _Coefficients.apply(  # type: ignore[no-untyped-call]
            x, atoms, indices, orthogonal
        )
    if not orthogonal:
        values, indices = _merged(values, indices)
    unused = k - indices.shape[1]
    if unused:
        values, indices = (functional.pad(part, (0, unused)) for part in (values, indices))
    return values, indices.clamp_min(0)


def _pursued(
    x: Tensor,
    atoms: Tensor,
    k: int,
    orthogonal: bool,
    tolerance: float,
    signed: bool,
    until_repeat: bool,
) -> Tensor:
    """What each step of each row takes, ``(rows, steps)``; -1 after its end.

    There are as many steps as the longest row has, at most k: with a tolerance k may be many.
    """
    width = len(atoms)
    gram = atoms @ atoms.T if not orthogonal and width**2 <= _GRAM else None
    block = max(1, _BLOCK // max(width, k * atoms.shape[1]))
    parts = [
        _of_block(part, atoms, gram, k, orthogonal, tolerance, signed, until_repeat)
        for part in x.split(block)
    ]
    indices = torch.cat(parts) if parts else x.new_zeros((0, k), dtype=torch.int64)
    steps = int((indices >= 0).any(0).sum())
    return indices[:, : max(1, steps)]


def _of_block(
    x: Tensor,
    atoms: Tensor,
    gram: Tensor | None,
    k: int,
    orthogonal: bool,
    tolerance: float,
    signed: bool,
    until_repeat: bool,
) -> Tensor:
    left, products = x.clone(), x @ atoms.T
    latents = torch.full((len(x), k), -1, dtype=torch.int64, device=x.device)
    directions = x.new_zeros(len(x), k, x.shape[1]) if orthogonal else None
    going = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for step in range(k):
        size, best = (products.abs() if signed else products).max(1)
        going = going & (size > 0.0)
        if not bool(going.any()):
            break
        latents[:, step] = torch.where(going, best, -1)
        size = products.gather(1, best[:, None]).squeeze(1) if signed else size
        amount = torch.where(going, size, 0.0)[:, None]
        atom = atoms[best]
        if directions is not None:
            # What the earlier atoms do not span, by Gram and Schmidt, twice for the rounding.
            for _ in range(2):
                along = torch.bmm(directions, atom[:, :, None])
                atom = atom - torch.bmm(directions.mT, along).squeeze(2)
            length = atom.norm(dim=1, keepdim=True)
            atom = torch.where(length > _RIDGE, atom / length.clamp_min(_RIDGE), 0.0)
            directions[:, step] = atom
            amount = torch.where(going[:, None], (left * atom).sum(1, keepdim=True), 0.0)
        left = left - amount * atom
        if gram is None:
            products = left @ atoms.T
        else:
            products = torch.addcmul(products, amount, gram[best], value=-1.0)
        if orthogonal:
            least = 0.0 if signed else -torch.inf
            products.scatter_(1, latents[:, : step + 1].clamp_min(0), least)
        if tolerance > 0.0:
            going = going & (left.norm(dim=1) > tolerance)
        if until_repeat:
            going = going & ~(latents[:, :step] == best[:, None]).any(1)
    return latents


class _Coefficients(Function):
    """The coefficients of given atoms, by blocks of rows: nothing of size rows x k x d is kept.

    With the atoms A ``(k, d)`` of a row they solve ``L c = A x``: of orthogonal pursuit ``L`` is
    the Gram matrix of A, else its part below the diagonal plus the identity, since a step sees what
    those before it have left over.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, atoms: Tensor, indices: Tensor, orthogonal: bool) -> Tensor:
        x = x.to(atoms.dtype)
        values = [
            _solved(x[start:stop], used_atoms, orthogonal)[0]
            for start, stop, used_atoms in _blocks(atoms, indices)
        ]
        ctx.orthogonal = orthogonal
        whole = torch.cat(values) if values else x.new_zeros(indices.shape)
        ctx.save_for_backward(x, atoms, indices, whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        with torch.autocast(gradients[0].device.type, enabled=False):
            return (*_Coefficients._derived(ctx, gradients[0]), None, None)

    @staticmethod
    def _derived(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, atoms, indices, values = ctx.saved_tensors
        need_x, need_atoms = ctx.needs_input_grad[:2]
        to_x = torch.zeros_like(x) if need_x else None
        to_atoms = torch.zeros_like(atoms) if need_atoms else None
        for start, stop, used_atoms in _blocks(atoms, indices):
            c = values[start:stop]
            _, y = _solved(x[start:stop], used_atoms, ctx.orthogonal, gradient[start:stop])
            assert y is not None
            if to_x is not None:
                to_x[start:stop] = torch.bmm(used_atoms.mT, y[:, :, None]).squeeze(2)
            if to_atoms is None:
                continue
            pairs = y[:, :, None] * c[:, None, :]
            pairs = pairs if ctx.orthogonal else pairs.tril(-1)
            to_used = y[:, :, None] * x[start:stop, None, :]
            to_used = to_used - torch.bmm(pairs + pairs.mT, used_atoms)
            place = indices[start:stop]
            to_used = to_used * (place >= 0)[:, :, None]
            to_atoms.index_add_(0, place.clamp_min(0).flatten(), to_used.flatten(0, 1))
        return to_x, to_atoms


def _blocks(atoms: Tensor, indices: Tensor) -> Any:
    """Blocks of rows, and the atoms that each of them took, zero after its end."""
    rows, k = indices.shape
    block = max(1, _BLOCK // (k * atoms.shape[1]))
    for start in range(0, rows, block):
        place = indices[start : start + block]
        used_atoms = atoms[place.clamp_min(0)] * (place >= 0)[:, :, None]
        yield start, start + len(place), used_atoms


def _solved(
    x: Tensor, used_atoms: Tensor, orthogonal: bool, gradient: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The coefficients ``L^-1 A x``, or with a ``gradient`` of them ``L^-T`` times it."""
    gram = torch.bmm(used_atoms, used_atoms.mT)
    right = torch.bmm(used_atoms, x[:, :, None]) if gradient is None else gradient[:, :, None]
    if orthogonal:
        # The ridge is too small to be seen, but for atoms that the others span, and for none.
        ridge = _RIDGE * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        solved = torch.linalg.solve(gram + ridge, right).squeeze(2)
    else:
        lower = gram.tril(-1)
        solved = torch.linalg.solve_triangular(
            lower if gradient is None else lower.mT,
            right,
            upper=gradient is not None,
            unitriangular=True,
        ).squeeze(2)
    return solved, None if gradient is None else solved


def _merged(values: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Every atom once in a row: its later coefficients are added to its first."""
    same = (indices[:, :, None] == indices[:, None, :]) & (indices >= 0)[:, None, :]
    earlier = same.tril(-1).any(2)
    if not bool(earlier.any()):
        return values, indices
    sums = torch.bmm(same.to(values.dtype), values[:, :, None]).squeeze(2)
    return torch.where(earlier, 0.0, sums), torch.where(earlier, -1, indices)


class MatchingPursuit(Ruled, Part):
    """Takes k atoms of each row one after the other (see :func:`matching_pursuit`).

    It reads the rows themselves, less the encoder's centre, and the encoder's atoms; the encoder's
    bias takes no part. ``k`` may be set at any time, and is saved with the model: the code of fewer
    steps is the beginning of that of more. Who fires is counted in training.
    """

    _k: Tensor

    def __init__(
        self,
        width: int,
        k: int,
        dead_after: int,
        *,
        orthogonal: bool = False,
        tolerance: float = 0.0,
        signed: bool = False,
        until_repeat: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.orthogonal, self.tolerance = width, orthogonal, tolerance
        self.signed, self.until_repeat = signed, until_repeat
        self.register_buffer("_k", torch.tensor(k, dtype=torch.int64))
        self.counter = FiringCounter(width, dead_after)

    @property
    def k(self) -> int:
        """The steps of each row."""
        return int(self._k)

    @k.setter
    def k(self, steps: int) -> None:
        if not (isinstance(steps, int) and steps > 0):
            raise IsthmusError(f"k={steps} must be a positive whole number: it counts the steps")
        self._k.fill_(steps)

    def forward(self, h: Preactivations, *, sample: bool = False) -> SparseCode:
        x = h.x if h.centre is None else h.x - h.centre
        values, indices = matching_pursuit(
            x,
            h.weight,
            self.k,
            orthogonal=self.orthogonal,
            tolerance=self.tolerance,
            signed=self.signed,
            until_repeat=self.until_repeat,
        )
        return SparseCode(values, indices, h.width, h if sample else None)

    def rule(self) -> Rule:
        """So many steps, and where they end before."""
        activation: Activation = "orthogonal_pursuit" if self.orthogonal else "matching_pursuit"
        if self.signed:
            activation = "signed_pursuit"
        return Rule(activation, self.k, tolerance=self.tolerance, until_repeat=self.until_repeat)

    def times(self, factors: Tensor) -> None:
        """An error, unless all factors are 1: what is left over would be another."""
        if not torch.allclose(factors, torch.ones_like(factors)):
            raise IsthmusError(
                "matching pursuit takes atoms for what is left over, which depends on their "
                "lengths: leave the atoms as they are"
            )

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start the decoder's bias at the geometric median of the data."""
        start_at_median(model, look.x)
