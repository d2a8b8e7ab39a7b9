"""The sparse autoencoder whose biases follow a rule: group bias adaptation."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    Code,
    Look,
    Output,
    Part,
    Signal,
    SparseCode,
    Step,
    ThresholdCode,
    View,
)
from isthmus.bottlenecks import FiringCounter
from isthmus.bottlenecks.batchtopk import over
from isthmus.bottlenecks.dictionary_start import best_scale, sample_of, start_at_median
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.kernels.preactivations import take_at
from isthmus.networks import Dictionary, TiedEncoder
from isthmus.notices import say
from isthmus.objectives import MSE
from isthmus.recipes.options import DeadAfter, DictionaryDim, Positive
from isthmus.recipes.registry import recipe

SILENT = 1e-6
"""A latent that fires on a smaller share of the rows is dead to the rule."""
MOVES = 200
"""A run moves its biases so many times at least, where it is long enough."""
_LOOKED_AT = 1 << 22
"""Pre-activations that the start is found from."""
LEAST = -1.0
"""Biases end there: rows have length 1, and so has the product of a row with its own atom."""


class GroupBiases(Part):
    """``z = a max(u, 0)`` with lengths ``a`` ``(width,)`` that are trained, and biases that a rule
    sets (paper, algorithm 1).

    Latents are dealt into groups of equal size, the m-th with a target rate ``rates[m]``; fewer
    latents than rates leave some of them out, which is said before training. Every
    ``every`` steps (at most a 200th of the run), from what was counted since: a latent that fires
    more often than its target has ``fall`` times its largest pre-activation taken off its bias,
    down to -1; a latent that is silent gets ``rise`` times the mean of those maxima over the
    group's latents that fired, up to 0. No gradient reaches a bias.
    """

    target: Tensor
    fired: Tensor
    largest: Tensor
    rows: Tensor

    def __init__(
        self,
        width: int,
        rates: tuple[float, ...],
        dead_after: int,
        *,
        every: int,
        fall: float,
        rise: float,
    ) -> None:
        super().__init__()
        self.every, self.fall, self.rise = every, fall, rise
        self.length = nn.Parameter(torch.ones(width))
        self.rates = len(rates)
        group = torch.arange(width) * self.rates // width
        self.register_buffer("target", torch.tensor(rates)[group])
        self.register_buffer("fired", torch.zeros(width, dtype=torch.int64))
        self.register_buffer("largest", torch.zeros(width))
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))
        self.counter = FiringCounter(width, dead_after)

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        code = over(h, 0.0, h if sample else None)
        if isinstance(code, SparseCode):
            return code.replaced(values=code.values * take_at(self.length, code.indices))
        return code.replaced(z=code.z * self.length)

    @torch.no_grad()
    def observe(self, out: Output, step: Step) -> None:
        """Count who fired, and how strongly."""
        code = out.code_as(AnySparseCode, self)
        length = self.length.abs().clamp_min(1e-30)
        if isinstance(code, SparseCode):
            entries, places = code.values.flatten(), code.indices.flatten()
            on = entries != 0
            self.fired += torch.bincount(places[on], minlength=len(self.fired))
            u = entries.abs() / length[places]
            self.largest.scatter_reduce_(0, places, u, "amax")
        else:
            assert isinstance(code, ThresholdCode)
            self.fired += (code.z != 0).sum(0)
            torch.maximum(self.largest, code.z.abs().amax(0) / length, out=self.largest)
        self.rows += len(code)

    @torch.no_grad()
    def after_update(self, *, model: Autoencoder, step: Step) -> None:
        """Move the biases, every so many steps."""
        every = min(self.every, max(1, step.clock.total // MOVES))
        if (step.clock.step + 1) % every or not int(self.rows):
            return
        bias = model.part_as("encoder", TiedEncoder, "group bias adaptation").bias
        self.adapt(bias)
        self.fired.zero_()
        self.largest.zero_()
        self.rows.zero_()

    @torch.no_grad()
    def adapt(self, bias: Tensor) -> None:
        """The rule, in place, from the counts."""
        rate = self.fired / self.rows
        active = self.fired > 0
        mean = torch.zeros_like(bias)
        for target in self.target.unique():
            group = self.target == target
            strong = self.largest[group & active]
            mean[group] = strong.mean() if len(strong) else 0.0
        lower = (bias - self.fall * self.largest).clamp_min(LEAST)
        higher = (bias + self.rise * mean).clamp_max(0.0)
        bias.copy_(torch.where(rate > self.target, lower, torch.where(rate < SILENT, higher, bias)))

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start where the rule would lead: each latent fires as often as its target.

        The decoder's bias starts at the geometric median of the data, and all lengths at the number
        with which the first reconstruction is best.
        """
        start_at_median(model, look.x)
        encoder = model.part_as("encoder", TiedEncoder, "group bias adaptation")
        width = len(encoder.bias)
        if width < self.rates:
            say(
                f"gba: {width} latents have one rate each, and {self.rates - width} of "
                f"{self.rates} are left out: set rates={width} or less"
            )
        some = sample_of(look.tensor, max(64, _LOOKED_AT // width))
        u = model.encode_view(View(some)).dense()
        place = ((1.0 - self.target.double()) * (len(u) - 1)).round().long()
        cutoffs = u.sort(0).values.gather(0, place[None, :])[0]
        encoder.bias.copy_((-cutoffs).clamp(LEAST, 0.0))
        z = torch.relu(u + encoder.bias)
        decoder = model.part_as("decoder", Dictionary, "group bias adaptation")
        scale = best_scale(z @ decoder.weight, some.flatten(1) - decoder.bias)
        if scale > 0.0:
            self.length.fill_(scale)


@recipe(
    "gba",
    family="sparse",
    catalogue=213,
    paper="Chen, Sheen, Xiong, Wang, Yang, Taming polysemanticity in LLMs: provable feature "
    "recovery via sparse autoencoders, 2025, arXiv:2506.14002",
    formula="u = W (x - b) + b_e,  z = a max(u, 0),  x^ = W^T z + b,  L = |x - x^|^2 / d;  every B "
    "steps b_e falls where a latent fires more often than its group should, and rises where it "
    "is silent",
    claim="Biases that hold the rate at which latents of a group fire, with other rates for other "
    "groups, recover the true features without a penalty to tune.",
    training={
        "steps": 10_000,
        "lr": 1e-3,
        "batch_size": 4096,
        "warmup": 100,
    },
    scaling="norm",
)
def gba(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    rates: Annotated[
        int, Field(gt=0, description="how many rates: as many groups of latents have one each")
    ] = 10,
    highest: Annotated[
        float, Field(gt=0, lt=1, description="rate at which the first group fires at most")
    ] = 0.1,
    lowest: Annotated[
        float, Field(gt=0, lt=1, description="rate of the last group; between, a geometric series")
    ] = 0.001,
    every: Annotated[
        int,
        Field(gt=0, description="steps between two moves of the biases (at most a 200th of a run)"),
    ] = 50,
    fall: Annotated[
        Positive, Field(description="share of its largest pre-activation that a bias falls by")
    ] = 0.01,
    rise: Annotated[
        Positive, Field(description="share of its group's mean maximum that a silent one rises by")
    ] = 0.01,
    dead_after: DeadAfter = 10_000_000,
) -> Autoencoder:
    """A dictionary without penalty and without k: a rule holds how often each latent fires.

    Encoder and decoder share their atoms, of norm 1; each latent has a length of its own. Features
    differ in how often they occur, and a latent learns one only if it fires about as often; since
    nobody knows those rates, latents are dealt into groups with rates in a geometric series. The
    number of active latents of an example is whatever the rule leaves: at most the sum of the
    rates, times the latents of a group.

    Published: inputs of norm 1, about ten groups with rates from 0.1 down, steps of 0.01 and a
    silence of 1e-6; the steps between two moves, the optimiser's rate and the lowest rate are not
    certain, and are ours, as is the start: b at the geometric median of the data, and biases at
    which each latent fires as often as its group may. Here no gradient reaches b through the
    encoder: b would run away until the biases, which end at -1, cannot hold any rate (on 40 planted
    features it then has a length of 5 in place of 0.2, and their mean cosine with the nearest atom
    is 0.64 in place of 0.85). Rows are divided by one factor so that their mean squared norm is 1
    (``scaling=norm``); ``scaling=rows`` gives each row norm 1 after its mean was taken off.
    """
    if lowest > highest:
        raise IsthmusError(
            f"lowest={lowest} is above highest={highest}: rates fall from the first group to the "
            "last"
        )
    series = torch.logspace(math.log10(highest), math.log10(lowest), rates).tolist()
    return Autoencoder(
        signal,
        encoder=TiedEncoder(latent_dim, held=True, subtract_bias=True, fixed_centre=True),
        bottleneck=GroupBiases(
            latent_dim, tuple(series), dead_after, every=every, fall=fall, rise=rise
        ),
        decoder=Dictionary(latent_dim, signal.shape, unit=True),
        objective=MSE() * 1.0,
    )
