"""Holding the number of active latents at a target, so that no coefficient has to be chosen."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Code, Output, Schedule, SparseCode, Term, ThresholdCode
from isthmus.errors import IsthmusError

INTEGRAL = 0.05
"""Steps of the logarithm of the coefficient, per unit of error."""
PROPORTIONAL = 0.05
"""Steps of the cutoffs in spreads of the pre-activations, per unit of error."""
DRIFT = 0.01
"""Steps of the cutoffs in spreads, per unit of the logarithm below the least coefficient."""
_LARGEST_ERROR = 1.0
_ABOVE, _BELOW, _DRIFTING = math.log(1e4), math.log(1e2), 5.0
"""How far the logarithm of the coefficient may go from its start, and drift beyond that."""


class L0Control(nn.Module):
    """Finds the coefficient of a sparsity penalty with which ``target`` latents are active.

    The error ``e = log(L0 / target)`` of each training batch, clipped to [-1, 1], does two things
    after the step. It raises the logarithm of the coefficient by ``INTEGRAL e``, and every latent's
    cutoff by ``PROPORTIONAL e`` spreads of the pre-activations. The integral finds the price at
    which the loss itself wants the target; the proportional part holds the target meanwhile, and
    does so at a speed that depends on no learning rate. With the target met neither acts: where
    training ends is a stationary point of the plain penalised loss, with the coefficient found.

    The coefficient falls to no less than a hundredth of where it began. A target that the
    reconstruction alone would not reach (more latents than it has a use for) lies below that: the
    integral then goes on as a steady fall of the cutoffs. That the error is clipped and the
    integral limited keeps a start far from the target from winding it up.

    ``shift(amount)`` raises all cutoffs by an amount in the units of the pre-activations; whoever
    builds the model gives it (a bottleneck that owns its thresholds does so itself). The bottleneck
    calls :meth:`begin` in ``prepare``, with a first coefficient from the data, and :meth:`measure`
    in every training forward pass. A term takes ``Held(control)`` as its weight. All state is saved
    with the model.
    """

    integral: Tensor
    start: Tensor
    spread: Tensor
    active: Tensor
    rows: Tensor

    def __init__(self, target: float, width: int) -> None:
        super().__init__()
        if not 0.0 < target < width:
            raise IsthmusError(
                f"l0={target:g} is no target for {width} latents: choose a number above 0 and "
                "below latent_dim"
            )
        self.target = float(target)
        self.shift: Callable[[float], None] | None = None
        # Double: small errors must not be lost to rounding.
        for name, value in (("integral", 0.0), ("start", 0.0), ("spread", 1.0), ("active", 0.0)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))

    @property
    def coefficient(self) -> float:
        """The price of the penalty now."""
        return math.exp(float(self.start) + max(float(self.integral), -_BELOW))

    def begin(self, coefficient: float, spread: float) -> None:
        """Set the first coefficient, and the standard deviation of the pre-activations."""
        self.start.fill_(math.log(max(coefficient, 1e-30)))
        self.integral.zero_()
        self.spread.fill_(spread)

    @torch.no_grad()
    def measure(self, code: Code) -> None:
        """Take the code of one training batch, or of a part of it, into account."""
        counts = count_active(code)
        self.active += counts.sum()
        self.rows += len(counts)

    @torch.no_grad()
    def after_update(self) -> None:
        """Answer what was measured since the last step."""
        rows = int(self.rows)
        if rows == 0:
            return
        ratio = float(self.active) / rows / self.target
        error = math.log(ratio) if ratio > 0.0 else -_LARGEST_ERROR
        error = min(_LARGEST_ERROR, max(-_LARGEST_ERROR, error))
        integral = float(self.integral) + INTEGRAL * error
        integral = min(_ABOVE, max(-_BELOW - _DRIFTING, integral))
        self.integral.fill_(integral)
        drift = DRIFT * min(0.0, integral + _BELOW)
        if self.shift is not None:
            self.shift((PROPORTIONAL * error + drift) * float(self.spread))
        self.active.zero_()
        self.rows.zero_()


class Held(Schedule):
    """The weight that an :class:`L0Control` finds."""

    def __init__(self, control: L0Control) -> None:
        self.control = control

    def __call__(self, clock: object) -> float:
        return self.control.coefficient

    def __repr__(self) -> str:
        return f"held at L0 = {self.control.target:g}"


def count_active(code: Code) -> Tensor:
    """How many latents of each row are active, ``(rows,)``."""
    assert isinstance(code, (SparseCode, ThresholdCode))
    return (code.entries != 0).sum(1)


class ActiveLatents(Term):
    """The number of active latents, to be watched in the log: it has no gradient."""

    name = "l0"
    unit = "active latents"
    rebuilds = False

    def __call__(self, model: Autoencoder, out: Output) -> Tensor:
        return count_active(out.code).to(out.x.dtype)


class Coefficient(Term):
    """The coefficient that a control holds, to be watched in the log."""

    name = "coefficient"
    unit = "loss per unit of the penalty"
    rebuilds = False

    def __init__(self, control: L0Control) -> None:
        self.control = control

    def __call__(self, model: Autoencoder, out: Output) -> Tensor:
        return torch.full((len(out.x),), self.control.coefficient, device=out.x.device)
