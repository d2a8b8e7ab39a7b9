"""The TopK sparse autoencoder with AuxK."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Output, Signal, SparseCode, Term
from isthmus.bottlenecks import Dictionary, DictionaryEncoder, FiringCounter, geometric_median
from isthmus.errors import IsthmusError
from isthmus.kernels import adaptive_decode, topk_relu
from isthmus.objectives import MSE
from isthmus.recipes.options import ActiveLatents, LatentDim, NonNegative
from isthmus.recipes.registry import recipe


class TopK(nn.Module):
    """Keeps the k largest pre-activations of each row, rectified; counts who fires in training."""

    def __init__(self, width: int, k: int, dead_after: int) -> None:
        super().__init__()
        self.width, self.k = width, k
        self.counter = FiringCounter(width, dead_after)

    def forward(self, h: Tensor, *, sample: bool = False) -> SparseCode:
        values, indices = topk_relu(h, self.k)
        code = SparseCode(values, indices, self.width, h if sample else None)
        if sample and self.training:
            self.counter.count(code)
        return code

    @torch.no_grad()
    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Start the decoder's bias at the geometric median of the data."""
        dictionary = model.decoder
        assert isinstance(dictionary, Dictionary)
        dictionary.bias.copy_(geometric_median(x.flatten(1)))


class AuxK(Term):
    """How well the ``k_aux`` strongest dead latents explain what the others left over.

    ``|e - e^|^2 / elements`` with the error ``e = x - x^`` held fixed (Gao et al. 2024, appendix
    A.2). Zero where no latent is dead. Gradients reach the dead latents' encoder rows.
    """

    name = "auxk"
    unit = "squared error per element, in the model's units"

    def __init__(self, k_aux: int) -> None:
        self.k_aux = k_aux

    def __call__(self, model: Autoencoder, out: Output) -> Tensor:
        code, bottleneck, dictionary = out.code, model.bottleneck, model.decoder
        assert isinstance(code, SparseCode)
        assert isinstance(bottleneck, TopK)
        assert isinstance(dictionary, Dictionary)
        dead = bottleneck.counter.dead(out.clock).nonzero().flatten()
        if len(dead) == 0 or code.preactivations is None:
            return torch.zeros(len(out.x), device=out.x.device)
        candidates = code.preactivations.index_select(1, dead)
        values, indices = topk_relu(candidates, min(self.k_aux, len(dead)))
        error = (out.target - out.need_recon()).detach().flatten(1)
        explained = adaptive_decode(values, indices, dictionary.weight.index_select(0, dead))
        return (error - explained).square().mean(1)


@recipe(
    "topk",
    family="sparse",
    catalogue=30,
    paper="Gao, Dupre la Tour, Tillman, Goh, Troll, Radford, Sutskever, Leike, Wu, Scaling and "
    "evaluating sparse autoencoders, 2024, arXiv:2406.04093",
    formula="z = TopK(W_e (x - b) + b_e),  x^ = W_d z + b,  "
    "L = |x - x^|^2 / d + (1/32) |e - e^|^2 / d",
    claim="TopK rebuilds better than ReLU with an L1 penalty at equal L0 and scales as a power law "
    "in width and k; tied initialisation and AuxK keep nearly all latents alive.",
    training={
        "steps": 10_000,
        "lr": 4e-4,
        "batch_size": 4096,
        "optimiser_options": {"eps": 6.25e-10},
        "clip": 1.0,
        "average": 0.999,
        "warmup": 100,
    },
    scaling="global",
)
def topk(
    signal: Signal,
    *,
    latent_dim: LatentDim = 4096,
    k: ActiveLatents = 32,
    k_aux: Annotated[int, Field(gt=0, description="dead latents that AuxK uses per example")] = 512,
    auxk_weight: Annotated[NonNegative, Field(description="weight of AuxK")] = 1 / 32,
    dead_after: Annotated[
        int,
        Field(
            gt=0,
            description="silent rows after which a latent is dead (at most a tenth of the run)",
        ),
    ] = 10_000_000,
) -> Autoencoder:
    """A wide dictionary of which each example uses exactly k atoms.

    The encoder starts as the transpose of the decoder, whose rows keep norm 1 and whose bias
    starts at the geometric median of the data. AuxK lets dead latents explain the residual, which
    brings them back. Sparsity is chosen, not tuned, and values are not shrunk.

    Published: 131,072 tokens a batch, a learning rate near 1e-4 that falls with the square root of
    the width, Adam with eps 6.25e-10, weight average 0.999, gradients clipped at 1, AuxK with 512
    latents and weight 1/32, latents dead after 10 million tokens. Here: batches of 4096 so that a
    laptop holds them, and 4e-4, which that rule gives at width 4096. Both losses are normalised
    by the data's mean square (``scaling=global``) rather than by each batch's variance, so that
    they are per example.
    """
    if k > latent_dim:
        raise IsthmusError(f"k={k} is more than latent_dim={latent_dim}: choose a smaller k")
    dictionary = Dictionary(latent_dim, signal.shape)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary),
        bottleneck=TopK(latent_dim, k, dead_after),
        decoder=dictionary,
        objective=MSE() + auxk_weight * AuxK(min(k_aux, latent_dim)),
    )
