"""The variational sparse autoencoder: TopK of a Gaussian draw."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Output, Signal, SparseCode, Step, Term, unstored
from isthmus.bottlenecks import TopK
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
    check_active,
)
from isthmus.recipes.registry import recipe
from isthmus.recipes.sparse.topk import TRAINING

LOGVAR = (-6.0, 2.0)
"""Bounds of a learned log variance."""


@dataclass(eq=False)
class DrawnSparseCode(SparseCode):
    """A sparse code chosen from a draw, with the Gaussian that it was drawn from.

    ``mean`` and ``logvar`` (natural log of the variance) are ``(rows, width)``, kept in training
    only.
    """

    mean: Tensor = unstored()
    logvar: Tensor = unstored()


class DrawnTopK(TopK):
    """Keeps the k largest of a draw ``u + s eps``, rectified; in evaluation of the means ``u``.

    ``sigma`` is s, the same for all, or where it is None learned: a linear layer of the input of
    the encoder says the log variance of each latent, within :data:`LOGVAR`.
    """

    def __init__(
        self, width: int, elements: int, k: int, dead_after: int, sigma: float | None
    ) -> None:
        super().__init__(width, k, dead_after, fit_scale=True)
        self.sigma = sigma
        self.logvar = None if sigma is not None else nn.Linear(elements, width)
        if self.logvar is not None:
            nn.init.zeros_(self.logvar.weight)
            nn.init.constant_(self.logvar.bias, -2.0)

    def forward(
        self,
        h: Preactivations,
        *,
        sample: bool = False,
        step: Step | None = None,
        model: Autoencoder | None = None,
    ) -> SparseCode:
        if not sample:
            return super().forward(h, sample=sample, step=step, model=model)
        mean = h.dense()
        if self.logvar is None:
            assert self.sigma is not None
            deviation = torch.tensor(self.sigma, dtype=mean.dtype, device=mean.device)
            logvar = 2.0 * deviation.clamp_min(1e-30).log()
        else:
            x = h.x if h.centre is None else h.x - h.centre
            logvar = self.logvar(x).clamp(*LOGVAR)
            deviation = (0.5 * logvar).exp()
        drawn = mean + deviation * torch.randn_like(mean) if self.training else mean
        values, indices = drawn.topk(self.k, dim=1, sorted=False)
        return DrawnSparseCode(
            torch.relu(values), indices, h.width, h,
            mean=mean, logvar=logvar.expand_as(mean),
        )  # fmt: skip


class LatentKL(Term):
    """The divergence of all latents from a standard normal, chosen or not.

    With one fixed deviation only what depends on the means, ``|mean|^2 / 2``: the rest is constant.
    """

    name = "kl"
    unit = "nats"
    rebuilds = False

    def __init__(self, *, learned: bool) -> None:
        super().__init__()
        self.learned = learned

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(DrawnSparseCode, self)
        if not self.learned:
            return 0.5 * code.mean.square().sum(1)
        return 0.5 * (code.mean.square() + code.logvar.exp() - 1.0 - code.logvar).sum(1)


@recipe(
    "vsae",
    family="sparse",
    catalogue=207,
    paper="Baker, Li, Analysis of variational sparse autoencoders, 2025, arXiv:2509.22994",
    formula="u = W_e (x - b) + b_e,  z = TopK(u + s eps),  x^ = W_d z + b,  "
    "L = |x - x^|^2 / d + (1/32) |e - e^|^2 / |e|^2 + (beta / d) KL(N(u, s^2) || N(0, 1))",
    claim="Drawing the latents from Gaussians that a divergence pulls to a standard normal does "
    "not help a TopK dictionary: it rebuilds worse and many more latents die.",
    training=TRAINING,
    scaling="global",
)
def vsae(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    sigma: Annotated[
        NonNegative | None,
        Field(description="standard deviation of the draws (none: learned for each latent)"),
    ] = 1.0,
    beta: Annotated[NonNegative, Field(description="weight of the divergence")] = 0.01,
    revive: Revive = "auto",
    k_aux: AuxLatents = None,
    auxk_weight: AuxWeight = 1 / 32,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A TopK dictionary whose latents are drawn, and pulled to a standard normal.

    All pre-activations are means of Gaussians of one fixed width; the k largest draws are kept. The
    divergence counts all latents, chosen or not, so it asks the pre-activations to be small; a
    latent then rises above the noise of the others only where the error gains by it. In evaluation
    the k largest means are kept, and nothing is drawn. With ``sigma=0`` and ``beta=0`` it is
    ``topk``, to the last bit.

    The paper's finding is negative, and the recipe is here so that it can be seen: more noise and
    more weight leave fewer latents alive.

    Published: variance 1 (a learned one is a variant), Pythia-70M, k and the rest as in the TopK
    dictionaries it is compared with; the weight of the divergence is not certain. Here: a weight
    of 0.01 where error and divergence are both per element, and the figures of ``topk``.
    """
    check_active(latent_dim, k=k)
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    elements = torch.Size(signal.shape).numel()
    drawn = sigma is None or sigma > 0.0 or beta > 0.0
    objective = MSE() * 1.0
    if beta:
        objective = objective + beta / elements * LatentKL(learned=sigma is None)
    objective, parts = with_help(objective, dictionary, revive, auxk_weight, k_aux)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=DrawnTopK(latent_dim, elements, k, dead_after, sigma)
        if drawn
        else TopK(latent_dim, k, dead_after, fit_scale=True),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
