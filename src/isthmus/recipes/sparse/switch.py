"""The switch sparse autoencoder: a router and experts, each a small TopK dictionary."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Look,
    Output,
    Part,
    Signal,
    SparseCode,
    Term,
    View,
    unstored,
)
from isthmus.bottlenecks import FiringCounter
from isthmus.bottlenecks.dictionary_start import fit_scale, sampled, start_at_median
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    ActiveLatents,
    AuxLatents,
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    NonNegative,
    Revive,
    SubtractBias,
    UnitRows,
)
from isthmus.recipes.registry import recipe
from isthmus.recipes.sparse.topk import TRAINING


@dataclass(eq=False)
class RoutedSparseCode(SparseCode):
    """A sparse code whose latents are all one expert's, with what chose it.

    ``routing`` ``(rows, experts)`` are the router's probabilities and ``expert`` int64 ``(rows,)``
    the expert of each row; both are kept in training only.
    """

    routing: Tensor = unstored()
    expert: Tensor = unstored()


class Switch(Part):
    """The k largest pre-activations of the expert that a router gives each row, rectified.

    Expert e of ``experts`` has the latents from ``e width / experts`` on, as many as every other.
    The router is a linear layer of what the encoder reads; the values are multiplied by the
    probability of the expert that it chose, through which gradients reach it. Only the latents of a
    row's own expert are computed. Who fires is counted in training.
    """

    def __init__(self, width: int, elements: int, k: int, experts: int, dead_after: int) -> None:
        super().__init__()
        self.width, self.k, self.experts = width, k, experts
        self.router = nn.Linear(elements, experts)
        self.router_centre = nn.Parameter(torch.zeros(elements))
        self.counter = FiringCounter(width, dead_after)

    def forward(self, h: Preactivations, *, sample: bool = False) -> SparseCode:
        routing = self.router(h.x - self.router_centre).softmax(1)
        share, expert = routing.max(1)
        size = self.width // self.experts
        parts, order = [], []
        for number in range(self.experts):
            rows = (expert == number).nonzero().flatten()
            latents = torch.arange(number * size, (number + 1) * size, device=h.x.device)
            values, indices = h.take(rows).of(latents).top(self.k)
            parts.append((torch.relu(values), indices + number * size))
            order.append(rows)
        back = torch.cat(order).argsort()
        values, indices = (torch.cat(column)[back] for column in zip(*parts, strict=True))
        values = values * share[:, None]
        if not sample:
            return SparseCode(values, indices, self.width)
        return RoutedSparseCode(values, indices, self.width, h, routing=routing, expert=expert)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start both centres at the geometric median of the data, and fit the encoder's scale."""
        start_at_median(model, look.x)
        self.router_centre.copy_(model.part_as("decoder", Dictionary, self).bias)
        some = sampled(look.x)
        fit_scale(model, some, self(model.encode_view(View(some))))


class Balance(Term):
    """``E sum_e f_e P_e``: 1 where rows and probabilities are spread evenly, E where one has all.

    ``f_e`` is the share of the batch that expert e gets, without a gradient, and ``P_e`` the mean
    of its probability (Fedus et al. 2022, arXiv:2101.03961, equation 4).
    """

    name = "balance"
    unit = "share of an even load, squared and summed"
    per_example = False
    estimator = "shares of one batch: biased upwards by the spread of small batches"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(RoutedSparseCode, self)
        experts = code.routing.shape[1]
        load = nn.functional.one_hot(code.expert, experts).to(code.routing).mean(0)
        return experts * (load * code.routing.mean(0)).sum()


@recipe(
    "switch",
    family="sparse",
    paper="Mudide, Engels, Michaud, Tegmark, Schroeder de Witt, Efficient dictionary learning with "
    "switch sparse autoencoders, 2024, arXiv:2410.08201",
    formula="p = softmax(W_r (x - b_r)),  e = argmax p,  z = p_e TopK(W_e^e (x - b) + b_e^e),  "
    "x^ = W_d^e z + b,  L = |x - x^|^2 / d + alpha E sum_e f_e P_e + (1/32) |e - e^|^2 / |e|^2",
    claim="At equal compute a dictionary of experts rebuilds better than one of a single encoder; "
    "at equal width it rebuilds worse, since experts learn the same features anew.",
    training=TRAINING,
    scaling="global",
)
def switch(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    experts: Annotated[
        int, Field(gt=0, description="experts, among which the latents are divided evenly")
    ] = 8,
    balance: Annotated[
        NonNegative, Field(description="alpha: weight of how unevenly experts are used")
    ] = 0.1,
    revive: Revive = "auto",
    k_aux: AuxLatents = None,
    auxk_weight: AuxWeight = 1 / 32,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """Many small dictionaries behind a router, one of which encodes each example.

    A row's pre-activations are computed for one expert's latents only, which is an ``experts``-th
    of the encoder's work, the dearest part of wide dictionaries. A feature that concerns rows of
    several experts has an atom in each: at equal width fewer different ones are found. With one
    expert it is ``topk``.

    Published: 16 to 128 experts on GPT-2, alpha of 3 beside a squared error that is summed over
    the elements of unscaled activations, no bias in the encoders. Here: errors per element of data
    whose mean square is 1, and so 0.1: with 0.01, the weight of Switch Transformers, an expert of
    four was left without rows on planted data, and from 0.1 to 1 the error is the same. The rest as
    in ``topk``.
    """
    if latent_dim % experts:
        raise IsthmusError(
            f"latent_dim={latent_dim} cannot be divided among {experts} experts: choose a "
            f"multiple of {experts}"
        )
    size = latent_dim // experts
    if k > size:
        raise IsthmusError(
            f"k={k} is more than the {size} latents that each of {experts} experts has of "
            f"latent_dim={latent_dim}: choose a smaller k, or fewer experts"
        )
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    elements = torch.Size(signal.shape).numel()
    objective = MSE() * 1.0
    if experts > 1:
        objective = objective + balance * Balance()
    objective, parts = with_help(objective, dictionary, revive, auxk_weight, k_aux)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=Switch(latent_dim, elements, k, experts, dead_after),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
