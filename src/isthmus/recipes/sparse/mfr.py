"""Mutual feature regularisation: dictionaries trained side by side, which are to agree."""

from collections.abc import Iterator
from itertools import combinations
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Linear, Look, Output, Part, Signal, SparseCode, Step, Term
from isthmus.bottlenecks import TopK
from isthmus.bottlenecks.dictionary_start import geometric_median, sample_of
from isthmus.bottlenecks.resampling import forget, is_due
from isthmus.kernels import preactivations_of, sum_by_latent
from isthmus.networks import Dictionary, TiedEncoder
from isthmus.objectives import MSE
from isthmus.recipes.options import (
    ActiveLatents,
    DeadAfter,
    DictionaryDim,
    NonNegative,
    check_active,
)
from isthmus.recipes.registry import recipe

UNEVEN = 2.5
"""Mean cubed deviation of the firing rates from an even one, as a share of it, above which a
dictionary starts anew."""
WARMUP = 100
"""Steps over which the weight of the agreement rises."""
LOOKS = 8
"""Firing is counted at every eighth step: the others' codes are computed once more for it."""


class Rival(Part):
    """A tied TopK dictionary beside the model's own, for the same rows."""

    def __init__(self, width: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.dictionary = Dictionary(width, shape)
        self.bias = nn.Parameter(torch.zeros(width))
        start_anew(self.dictionary.weight, self.bias)

    def encode(self, x: Tensor, k: int) -> SparseCode:
        """The k largest pre-activations of rows ``(n, d)``, in the model's units, rectified."""
        weight, centre = self.dictionary.weight, self.dictionary.bias
        values, indices = preactivations_of(x, weight, self.bias, centre).top(k)
        return SparseCode(torch.relu(values), indices, len(weight))


class Rivals(Part):
    """The other dictionaries, and the rates at which the latents of all of them fire.

    ``fired`` ``(dictionaries, width)`` counts the rows on which each latent fired since it was last
    looked at, the model's own dictionary first, and ``rows`` how many there were. Where the rates
    ``r`` of a dictionary are uneven (the mean of ``(|r - p| / p)^3`` exceeds :data:`UNEVEN`, with p
    of k / width) it starts anew, with what the optimiser remembers of it: looked at four times, the
    last halfway through a run.
    """

    fired: Tensor
    rows: Tensor

    def __init__(self, count: int, width: int, shape: tuple[int, ...], k: int) -> None:
        super().__init__()
        self.members = nn.ModuleList([Rival(width, shape) for _ in range(count)])
        self.k = k
        self.register_buffer("fired", torch.zeros(count + 1, width))
        self.register_buffer("rows", torch.zeros(()))

    def __iter__(self) -> Iterator[Rival]:
        for member in self.members:
            assert isinstance(member, Rival)
            yield member

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start all centres at the geometric median of the data."""
        median = geometric_median(sample_of(look.tensor).flatten(1))
        for member in self:
            member.dictionary.bias.copy_(median)

    def observe(self, out: Output, step: Step) -> None:
        """Count who fires, where it is counted."""
        if step.clock.step % LOOKS:
            return
        x, width = out.target.flatten(1), self.fired.shape[1]
        codes = [out.code_as(SparseCode, self), *(member.encode(x, self.k) for member in self)]
        for fired, code in zip(self.fired, codes, strict=True):
            active = (code.values != 0).to(fired.dtype)
            fired += sum_by_latent(active, code.indices, width)
        self.rows += len(x)

    @torch.no_grad()
    def after_update(
        self, *, model: Autoencoder, step: Step, optimiser: torch.optim.Optimizer
    ) -> None:
        """Start dictionaries anew, where the step is one of those at which they are looked at."""
        if not is_due(step.clock):
            return
        even = self.k / self.fired.shape[1]
        rates = self.fired / self.rows.clamp_min(1.0)
        uneven = ((rates - even).abs() / even).pow(3).mean(1)
        self.fired.zero_()
        self.rows.zero_()
        for number in (uneven > UNEVEN).nonzero().flatten().tolist():
            weight, bias = weights_of(model, self)[number]
            start_anew(weight, bias)
            every = torch.arange(len(weight), device=weight.device)
            forget(optimiser, (weight, bias), every)


@torch.no_grad()
def start_anew(weight: Tensor, bias: Tensor) -> None:
    """Orthogonal rows of norm 1, as far as there is room, and no bias."""
    nn.init.orthogonal_(weight)
    weight.copy_(F.normalize(weight, dim=1))
    bias.zero_()


def weights_of(model: Autoencoder, asker: object) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Weight and encoder's bias of each dictionary, the model's own first."""
    weight = model.part_as("decoder", Dictionary, asker).weight
    bias = model.part_as("encoder", TiedEncoder, asker).bias
    assert isinstance(bias, nn.Parameter)
    rivals = model.part_as("parts.rivals", Rivals, asker)
    return [(weight, bias), *((member.dictionary.weight, member.bias) for member in rivals)]


class RivalErrors(Term):
    """``sum_i |x - x^_i|^2 / elements`` over the other dictionaries."""

    name = "rivals"
    unit = "squared error per element, summed over dictionaries, in the model's units"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        x = out.target.flatten(1)
        rivals = model.part_as("parts.rivals", Rivals, self)
        errors = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        for member in rivals:
            code = member.encode(x, rivals.k)
            residual = member.dictionary.error(code, x)
            if residual is None:
                squares = (member.dictionary.decode(code).flatten(1) - x).square().sum(1)
            else:
                squares = residual.squares
            errors = errors + squares
        return errors / x.shape[1]


class Disagreement(Term):
    """One minus the mean cosine of matched atoms, averaged over the pairs of dictionaries.

    Atoms are matched one to one for the largest sum of cosines, anew every ``every`` steps; no
    gradient reaches the matching. ``partners`` int64 ``(pairs, width)`` is kept between.
    """

    name = "disagreement"
    unit = "one minus a cosine"
    per_example = False
    estimator = "of the weights alone: no batch changes it"
    rebuilds = False

    partners: Tensor

    def __init__(self, dictionaries: int, width: int, every: int) -> None:
        self.every = every
        pairs = dictionaries * (dictionaries - 1) // 2
        self.register_buffer("partners", torch.arange(width).repeat(pairs, 1))

    def observe(self, out: Output, step: Step, *, model: Autoencoder | None = None) -> None:
        """Match anew, where that is due."""
        assert model is not None
        if step.clock.step % self.every:
            return
        from isthmus.evaluation.cosines import assigned  # it loads scipy

        for place, (a, b) in enumerate(self._pairs(model)):
            self.partners[place] = torch.from_numpy(assigned(a, b)[0]).to(self.partners)

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        cosines = [
            (a * b[partners]).sum(1).mean()
            for partners, (a, b) in zip(self.partners, self._pairs(model), strict=True)
        ]
        return 1.0 - torch.stack(cosines).mean()

    def _pairs(self, model: Autoencoder) -> list[tuple[Tensor, Tensor]]:
        unit = [F.normalize(weight, dim=1) for weight, _ in weights_of(model, self)]
        return list(combinations(unit, 2))


@recipe(
    "mfr",
    family="sparse",
    catalogue=4,
    paper="Marks, Paren, Krueger, Barez, Enhancing neural network interpretability with "
    "feature-aligned sparse autoencoders, 2024, arXiv:2411.01220",
    formula="z_i = TopK(W_i (x - b_i) + c_i),  x^_i = z_i W_i + b_i,  "
    "L = sum_i |x - x^_i|^2 / d + a (1 - mean over pairs of MMCS(W_i, W_j))",
    claim="What dictionaries that are trained side by side agree upon is a feature of the data; "
    "rewarding agreement recovers more of them and rebuilds better.",
    training={"steps": 10_000, "lr": 1e-3, "batch_size": 4096},
    scaling="global",
)
def mfr(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    dictionaries: Annotated[
        int, Field(gt=1, description="dictionaries that are trained side by side")
    ] = 2,
    agreement: Annotated[
        NonNegative, Field(description="a: weight of the disagreement of their atoms")
    ] = 0.005,
    every: Annotated[int, Field(gt=0, description="steps after which atoms are matched anew")] = 50,
    dead_after: DeadAfter = 10_000_000,
) -> Autoencoder:
    """Several dictionaries of the same rows, each pulled towards what the others have found.

    All are TopK dictionaries whose encoder reads with the decoder's atoms. The first is the model:
    it encodes, and what is measured and exported is its; the others are kept in the checkpoint
    (``model.parts["rivals"]``). Without the agreement it is trained as if it were alone. A step
    costs as much as one of TopK for each dictionary, and the matching, every so many steps, time
    with the cube of the width: seconds for a few thousand latents.

    Published: 3072 latents and k of 6 on GPT-2, a of 0.005 with a warm-up of 100 steps along a
    cosine, Adam at 1e-3, orthogonal starts, atoms matched at every step, and dictionaries whose
    latents fire unevenly started anew. Here: the weight rises in a straight line, atoms are matched
    every 50 steps, firing is looked at four times over the first half of a run, and atoms keep norm
    1 in the encoder too.
    """
    check_active(latent_dim, k=k)
    dictionary = Dictionary(latent_dim, signal.shape)
    encoder = TiedEncoder(latent_dim, subtract_bias=True)
    start_anew(dictionary.weight, encoder.bias)
    rivals = Rivals(dictionaries - 1, latent_dim, signal.shape, k)
    rising = Linear(0.0, agreement, WARMUP)
    return Autoencoder(
        signal,
        encoder=encoder,
        bottleneck=TopK(latent_dim, k, dead_after),
        decoder=dictionary,
        objective=MSE() + RivalErrors() + Disagreement(dictionaries, latent_dim, every) * rising,
        parts={"rivals": rivals},
    )
