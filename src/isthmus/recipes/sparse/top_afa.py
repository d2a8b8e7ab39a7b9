"""The sparse autoencoder that activates as many latents as the length of its input asks for."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import (
    Autoencoder,
    Look,
    Output,
    Part,
    Signal,
    SparseCode,
    Term,
    norms,
    unstored,
)
from isthmus.bottlenecks import FiringCounter
from isthmus.bottlenecks.dictionary_start import start_at_median
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
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

_SHARE = 8
"""So large a part of the latents is looked at first: few rows need more."""


@dataclass(eq=False)
class NormedCode(SparseCode):
    """A sparse code that also holds the lengths of the centred inputs, ``(rows,)``."""

    lengths: Tensor = unstored()


class NormMatching(Part):
    """Keeps the strongest latents of a row whose joint length comes closest to that of the row.

    Of the rectified pre-activations, each times the length of its atom, the k largest are kept for
    the k that makes ``| sqrt(sum of squares) - |x - b_dec| |`` least (paper, algorithm 1): nearly
    orthogonal atoms add up as right-angled ones do. Of two such k it is the smaller.
    """

    def __init__(self, width: int, dead_after: int) -> None:
        super().__init__()
        self.width = width
        self.counter = FiringCounter(width, dead_after)

    def forward(self, h: Preactivations, *, model: Autoencoder, sample: bool = False) -> SparseCode:
        x = h.x if h.centre is None else h.x - h.centre
        length = x.norm(dim=1)
        atoms = norms(model).detach()
        most = max(1, self.width // _SHARE)
        values, indices, sums = self._strongest(h, most, atoms)
        # Where a row has more to give, and is not as long as it should be yet, all are looked at.
        short = (values[:, -1] > 0) & (sums[:, -1] < length)
        if most < self.width and bool(short.any()):
            values, indices, sums = self._strongest(h, self.width, atoms)
        best = (sums - length[:, None]).abs().argmin(1)
        places = torch.arange(values.shape[1], device=values.device)
        kept = (places <= best[:, None]) & (values > 0)
        values = torch.where(kept, values, 0.0)
        room = max(1, int(kept.sum(1).max())) if len(kept) else 1
        return NormedCode(
            values[:, :room].contiguous(), indices[:, :room].contiguous(), h.width,
            h if sample else None, lengths=length,
        )  # fmt: skip

    def _strongest(self, h: Preactivations, k: int, atoms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The k strongest of each row, in falling order, and the joint length up to each."""
        values, indices = h.top(k, priority=atoms)
        order = (values.detach() * atoms[indices]).argsort(dim=1, descending=True, stable=True)
        values, indices = torch.relu(values.gather(1, order)), indices.gather(1, order)
        # Double: what a small one adds must not be lost.
        weighed = (values.detach() * atoms[indices]).double()
        return values, indices, weighed.square().cumsum(1).sqrt()

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start the decoder's bias at the geometric median of the data."""
        start_at_median(model, look.x)


class LengthError(Term):
    """How far the code's length is from the input's: ``(|f| - |x - b_dec|)^2 / elements``."""

    name = "length_error"
    unit = "squared error per element, in the model's units"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(NormedCode, self)
        atoms = norms(model).detach()
        # The root of 0 has no gradient.
        length = (code.values * atoms[code.indices]).square().sum(1).clamp_min(1e-12).sqrt()
        return (length - code.lengths).square() / out.target.flatten(1).shape[1]


@recipe(
    "top-afa",
    family="sparse",
    catalogue=206,
    paper="Lee, Davies, Canby, Hockenmaier, Evaluating and designing sparse autoencoders by "
    "approximating quasi-orthogonality, 2025, arXiv:2503.24277",
    formula="a = ReLU(W_e (x - b) + b_e),  f = the k* largest a_i |d_i| with k* = argmin_k "
    "| sqrt(sum_i<=k (a_i |d_i|)^2) - |x - b| |,  x^ = W_d f + b,  "
    "L = |x - x^|^2 / d + c (|f| - |x - b|)^2 / d + (1/32) |e - e^|^2 / |e|^2",
    claim="Matching the length of the code to that of the input chooses the number of active "
    "latents for each input, without a k to tune, and rebuilds at least as well as TopK at the "
    "same average L0.",
    training={
        "steps": 10_000,
        "lr": 1.2e-3,
        "batch_size": 4096,
        "optimiser_options": {"betas": [0.9, 0.99]},
    },
    scaling="rows",
)
def top_afa(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    afa_weight: Annotated[
        NonNegative, Field(description="weight c of the error of the code's length")
    ] = 1 / 32,
    revive: Revive = "auto",
    k_aux: AuxLatents = None,
    auxk_weight: AuxWeight = 1 / 32,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A dictionary that decides for each example how many atoms it uses.

    Where atoms are nearly orthogonal, the length of what is rebuilt is the length of the code:
    ``| |z|^2 - |f|^2 | <= eps (|f|_1^2 - |f|_2^2)``, with ``eps`` the largest cosine between two
    atoms that are on (paper, theorem 1). The strongest latents are therefore kept until their joint
    length is that of the input. Nothing says that few are enough: where the encoder's
    pre-activations are small the code gets dense, and the term on the length pulls against it by
    making them larger.

    Published: rows normalised each to mean 0 and variance 1 (``scaling=rows``), Adam at 3e-4 with
    betas (0.9, 0.99), batches of 4096, 12,288 latents, AuxK with 512 dead latents and weight 1/32;
    of the weight c several are tried, and none is fixed: here 1/32. Here also: four times that
    rate, as for BatchTopK, whose code the authors trained with; the bias starts at the geometric
    median of the data.
    """
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    objective = MSE() * 1.0
    if afa_weight:
        objective = objective + afa_weight * LengthError()
    objective, parts = with_help(objective, dictionary, revive, auxk_weight, k_aux)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=NormMatching(latent_dim, dead_after),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
