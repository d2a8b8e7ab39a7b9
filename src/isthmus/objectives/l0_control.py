"""Holding the number of active latents at a target, so that no coefficient has to be chosen."""

import math

import torch
from torch import Tensor

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    Clock,
    Code,
    Output,
    Part,
    Schedule,
    Step,
    Term,
    expect,
)
from isthmus.bottlenecks.penalised import Penalised
from isthmus.errors import IsthmusError
from isthmus.ranks import summed

INTEGRAL = 0.05
"""Steps of the logarithm of the coefficient, per unit of error."""
PROPORTIONAL = 0.05
"""Steps of the cutoffs in spreads of the pre-activations, per unit of error."""
DRIFT = 0.01
"""Steps of the cutoffs in spreads, per unit of the logarithm below the least coefficient."""
RAMP = 0.2
"""Share of the run over which the target falls from its start."""
_LARGEST_ERROR = 1.0
_ABOVE, _BELOW, _DRIFTING = math.log(1e4), math.log(1e2), 5.0
"""How far the logarithm of the coefficient may go from its start, and drift beyond that."""


class L0Control(Part):
    """Finds the coefficient of a sparsity penalty with which ``target`` latents are active.

    The error ``e = log(L0 / target)`` of each training batch, clipped to [-1, 1], does two things
    after the step. It raises the logarithm of the coefficient by ``INTEGRAL e``, and every latent's
    cutoff by ``PROPORTIONAL e`` spreads of the pre-activations. The integral finds the price at
    which the loss itself wants the target; the proportional part holds the target meanwhile, and
    does so at a speed that depends on no learning rate. With the target met neither acts: where
    training ends is a stationary point of the plain penalised loss, with the coefficient found.

    With ``start`` the target begins there and falls in a straight line of its logarithm over the
    first ``RAMP`` of the run, as the coefficients of a penalty rise slowly where they are chosen:
    dense codes first, so that every latent is used before latents have to compete. Less than the
    target is an :class:`IsthmusError`.

    The coefficient falls to no less than a hundredth of where it began. A target that the
    reconstruction alone would not reach (more latents than it has a use for) lies below that: the
    integral then goes on as a steady fall of the cutoffs. That the error is clipped and the
    integral limited keeps a start far from the target from winding it up.

    The model's bottleneck, a :class:`~isthmus.bottlenecks.penalised.Penalised`, owns the control:
    it calls :meth:`begin` in ``prepare``, with a first coefficient from the data, and its ``shift``
    raises all cutoffs by an amount in the units of the pre-activations. A term takes
    ``Held(control)`` as its weight. All state is saved with the model, and stays on its device: no
    step waits for a number.
    """

    by_latent = ()

    integral: Tensor
    start: Tensor
    spread: Tensor
    active: Tensor
    rows: Tensor

    def __init__(self, target: float, width: int, start: float | None = None) -> None:
        super().__init__()
        if not 0.0 < target < width:
            raise IsthmusError(
                f"l0={target:g} is no target for {width} latents: choose a number above 0 and "
                "below latent_dim"
            )
        first = target if start is None else start
        if not target <= first < width:
            raise IsthmusError(
                f"l0_start={first:g} is no start for l0={target:g}: choose a number from l0 up, "
                f"below latent_dim={width}"
            )
        self.target, self.first = float(target), float(first)
        # Double: small errors must not be lost to rounding.
        for name, value in (("integral", 0.0), ("start", 0.0), ("spread", 1.0), ("active", 0.0)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))

    @property
    def coefficient(self) -> Tensor:
        """The price of the penalty now, a float64 scalar."""
        return (self.start + self.integral.clamp_min(-_BELOW)).exp()

    def begin(self, coefficient: float, spread: float) -> None:
        """Set the first coefficient, and the standard deviation of the pre-activations."""
        self.start.fill_(math.log(max(coefficient, 1e-30)))
        self.integral.zero_()
        self.spread.fill_(spread)

    def observe(self, out: Output, step: Step) -> None:
        """Take the codes of a step into account."""
        self.measure(out.code)

    @torch.no_grad()
    def measure(self, code: Code) -> None:
        """Take the code of one training batch into account."""
        counts = count_active(code)
        self.active += counts.sum()
        self.rows += len(counts)

    def target_at(self, clock: Clock) -> float:
        """How many latents are to be active at a step."""
        if self.first == self.target:
            return self.target
        done = min(1.0, clock.step / max(1.0, RAMP * clock.total))
        return float(self.first ** (1.0 - done) * self.target**done)

    @torch.no_grad()
    def after_update(self, *, model: Autoencoder, step: Step) -> None:
        """Answer what was measured since the last step."""
        amount = self.answer(
            self.target if self.first == self.target else self.target_at(step.clock)
        )
        if isinstance(model.bottleneck, Penalised):
            model.bottleneck.shift(model, amount)

    @torch.no_grad()
    def answer(self, target: float | None = None) -> Tensor:
        """Move the integral by what was measured; the amount by which cutoffs are to rise.

        ``target`` is that of the moment (none: the last).
        """
        target = self.target if target is None else target
        measured = self.rows > 0
        ratio = self.active / self.rows.clamp_min(1) / target
        # The logarithm of no active latent at all is minus infinity, and clipped like any other.
        error = ratio.log().clamp(-_LARGEST_ERROR, _LARGEST_ERROR)
        error = torch.where(measured, error, 0.0)
        integral = (self.integral + INTEGRAL * error).clamp(-_BELOW - _DRIFTING, _ABOVE)
        self.integral.copy_(integral)
        drift = DRIFT * (integral + _BELOW).clamp_max(0.0)
        amount = (PROPORTIONAL * error + drift) * self.spread
        self.active.zero_()
        self.rows.zero_()
        return torch.where(measured, amount, 0.0)


class Held(Schedule):
    """The weight that an :class:`L0Control` finds."""

    of_clock = False

    def __init__(self, control: L0Control) -> None:
        self.control = control

    def __call__(self, clock: object) -> Tensor:  # type: ignore[override]
        return self.control.coefficient

    def __repr__(self) -> str:
        return f"held at L0 = {self.control.target:g}"


def count_active(code: Code) -> Tensor:
    """How many latents of each row are active, ``(rows,)``."""
    code = expect(code, AnySparseCode, "code", "the number of active latents")
    return summed((code.entries != 0).sum(1))


class ActiveLatents(Term):
    """The number of active latents, to be watched in the log: it has no gradient."""

    name = "l0"
    unit = "active latents"
    by_latent = ()
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return count_active(out.code).float()


class Coefficient(Term):
    """The coefficient that the bottleneck's control holds, to be watched in the log."""

    name = "coefficient"
    unit = "loss per unit of the penalty"
    by_latent = ()
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        control = model.part_as("bottleneck.control", L0Control, self)
        return control.coefficient.float().expand(out.rows)
