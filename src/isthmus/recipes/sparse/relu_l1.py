"""The ReLU sparse autoencoder with an L1 penalty."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    Clock,
    Constant,
    Linear,
    Output,
    Schedule,
    Signal,
    SparseCode,
    Step,
    Term,
    Watch,
    norms,
)
from isthmus.bottlenecks import ReLU
from isthmus.kernels import take_at
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import L1, MSE, ActiveLatents, Coefficient, Held, L0Control, NormL1
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    Meant,
    NonNegative,
    Revive,
    StartL0,
    SubtractBias,
    TargetL0,
    UnitRows,
)
from isthmus.recipes.registry import recipe

BEGIN, END = 0.2, 0.9
"""Shares of the run between which the exponent of an annealed penalty falls."""
FLAT = 1e-3
"""Added to latents before the power is taken: the slope at 0 is then finite."""


@dataclass(frozen=True)
class Exponent(Schedule):
    """1 until :data:`BEGIN` of the run is done, ``end`` from :data:`END` on, a line between."""

    end: float

    def __call__(self, clock: Clock) -> float:
        share = min(1.0, max(0.0, (clock.progress - BEGIN) / (END - BEGIN)))
        return 1.0 + (self.end - 1.0) * share


class AnnealedPower(Term):
    """``strength sum_i ((|z_i| + e)^p - e^p)`` with e = :data:`FLAT`, whose p falls from 1.

    At p = 1 it is the L1 norm. As p falls the sum counts latents rather than their sizes: those
    that are large are shrunk less, small ones pay more. ``strength`` starts at 1, and whenever p
    falls is multiplied by the sum of the batch with the old p over that with the new one, so that
    the coefficient keeps its meaning (Karvonen et al. 2024, section 3.2; they take the mean of ten
    batches). With ``weigh`` a latent is multiplied by the length of its atom.
    """

    name = "lp"
    unit = "sum of powers of the latents, at the strength of their sum in the model's units"
    rebuilds = False

    strength: Tensor

    def __init__(self, end: float, *, weigh: bool = False) -> None:
        self.exponent, self.weigh = Exponent(end), weigh
        self.register_buffer("strength", torch.ones(()))

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return self.strength * self._sum(model, out, self.exponent(out.clock))

    def observe(self, out: Output, step: Step, *, model: Autoencoder | None = None) -> None:
        """Follow the exponent as it falls."""
        assert model is not None
        clock = step.clock
        now = self.exponent(clock)
        before = self.exponent(Clock(max(0, clock.step - 1), clock.total))
        if now == before:
            return
        old, new = (self._sum(model, out, p).mean() for p in (before, now))
        self.strength.mul_(torch.where(new > 0.0, old / new.clamp_min(1e-30), 1.0))

    def _sum(self, model: Autoencoder, out: Output, power: float) -> Tensor:
        code = out.code_as(AnySparseCode, self)
        sizes = code.entries.abs()
        if self.weigh:
            lengths = norms(model)
            at = take_at(lengths, code.indices) if isinstance(code, SparseCode) else lengths
            sizes = sizes * at
        return ((sizes + FLAT).pow(power) - FLAT**power).sum(1)


@recipe(
    "relu-l1",
    family="sparse",
    catalogue=29,
    paper="Cunningham, Ewart, Riggs, Huben, Sharkey, Sparse Autoencoders Find Highly "
    "Interpretable Features in Language Models, 2023, arXiv:2309.08600",
    formula="z = ReLU(W_e (x - b) + b_e),  x^ = W_d z + b,  L = |x - x^|^2 / d + alpha |z|_1",
    claim="Directions found by an L1 dictionary are easier to interpret than principal or "
    "independent components and neurons, and single out a behaviour with fewer directions.",
    training={"steps": 10_000, "lr": 1e-3, "batch_size": 4096},
    scaling="global",
)
def relu_l1(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    l0: TargetL0 = None,
    l0_start: StartL0 = None,
    sparsity: Annotated[NonNegative, Field(description="alpha: price of the L1 norm")] = 8.6e-4,
    sparsity_steps: Annotated[
        int,
        Field(ge=0, description="steps over which alpha rises (at most 0.8 of the run; 0: none)"),
        Meant("ramp"),
    ] = 0,
    p_end: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="exponent of the penalty at the end, to which it falls from 1 (1: always "
            "the L1 norm; published for p-annealing: 0.2)",
        ),
    ] = 1.0,
    tied: Annotated[bool, Field(description="one weight for encoder and decoder")] = False,
    revive: Revive = "auto",
    auxk_weight: AuxWeight = 0.0,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A wide dictionary whose latents pay for their size, which drives most of them to zero.

    The oldest of these dictionaries, and the one the others are measured against: the penalty also
    shrinks the latents that remain. Inputs are scaled to a mean squared element of 1, on which
    alpha depends; atoms keep norm 1, or with ``unit=False`` any: a latent then pays for its size
    times the length of its atom.

    With ``l0`` no alpha has to be chosen: biases start where that many latents are active, and a
    control holds L0 at the target by alpha and by a common shift of the biases. Without it the
    decoder's bias starts at the geometric median of the data, and the encoder is scaled so that the
    first reconstruction is best (a tied one gets biases instead).

    ``p_end`` below 1 is p-annealing (Karvonen et al. 2024, arXiv:2408.00113): the penalty becomes
    the sum of p-th powers, and p falls from 1 to ``p_end`` between 0.2 and 0.9 of the run, at equal
    strength. What is left on at the end is shrunk less. (There: to the end of the run, in ten
    steps; here the loss is the same function in the last tenth, so that held-out losses of it can
    be compared.)

    Published: Adam at 1e-3, alpha 8.6e-4 for the residual stream (swept from 1e-4 to 1e-2), and a
    decoder tied to the encoder, which has no bias. Here the decoder has one, and is a weight of its
    own that the encoder starts from, as in most dictionaries since; ``tied`` gives the paper's.
    """
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    encoder = DictionaryEncoder(dictionary, subtract_bias=subtract_bias)
    if tied:
        encoder.weight = dictionary.weight
    control = None if l0 is None else L0Control(l0, latent_dim, l0_start)
    price = 2.0 / dictionary.bias.numel()
    bottleneck = ReLU(latent_dim, dead_after, control=control, price=price)
    penalty: Term = L1() if unit else NormL1()
    if p_end < 1.0:
        penalty = AnnealedPower(p_end, weigh=not unit)
    if control is None:
        weight = Linear(0.0, sparsity, sparsity_steps) if sparsity_steps else Constant(sparsity)
        objective = MSE() + weight * penalty + Watch(ActiveLatents())
    else:
        watched = Watch(ActiveLatents()) + Watch(Coefficient())
        objective = MSE() + penalty * Held(control) + watched
    objective, parts = with_help(objective, dictionary, revive, auxk_weight)
    return Autoencoder(
        signal,
        encoder=encoder,
        bottleneck=bottleneck,
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
