"""The Matryoshka sparse autoencoder over levels of sparsity."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    Code,
    Look,
    Output,
    Signal,
    SparseCode,
    Term,
    ThresholdCode,
)
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives.nested_errors import left_over
from isthmus.recipes.options import ActiveLatents, DictionaryDim, check_active
from isthmus.recipes.registry import recipe

START = 0.01
"""Norm of the encoder's rows at the start: both halves at 0.1, then the decoder's norm moved into
the encoder (the authors' code). From norm 1 all positive latents together overshoot."""
LEAST = 1e-6
"""The least squared distance from the mean that a row's error is divided by, of the mean one."""


def doubling(k: int, width: int) -> list[int]:
    """``k, 2k, 4k, ...`` below ``width``, and ``width``."""
    levels = []
    while k < width:
        levels.append(k)
        k *= 2
    return [*levels, width]


class NestedTopK(nn.Module):
    """TopK at several levels at once, the last of them ``width``; one serves at inference.

    In training the code holds the latents of the largest level below the width, largest first, so
    that each smaller level is a prefix of its entries. :meth:`use` chooses the level at inference,
    at first the smallest; the choice is a buffer and saved with the model.
    """

    k: Tensor

    def __init__(self, width: int, levels: list[int]) -> None:
        super().__init__()
        self.width, self.levels = width, levels
        self.register_buffer("k", torch.tensor(levels[0], dtype=torch.int64))

    def use(self, k: int) -> None:
        """Have ``k`` latents active at inference, any number; ``width`` is all positive ones."""
        if not 0 < k <= self.width:
            raise IsthmusError(
                f"k={k} is no number of active latents: choose one from 1 to {self.width}"
            )
        self.k.fill_(k)

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        most = self._most if sample else int(self.k)
        if most == self.width:
            return ThresholdCode(torch.relu(h.dense()), h if sample else None)
        if not sample:
            values, indices = h.top(most)
            return SparseCode(torch.relu(values), indices, self.width)
        # The last level needs them all: nothing is then to be computed twice.
        h.dense()
        values, indices = h.top(most)
        order = values.detach().argsort(dim=1, descending=True)
        values, indices = torch.relu(values.gather(1, order)), indices.gather(1, order)
        return SparseCode(values, indices, self.width, h)

    @property
    def _most(self) -> int:
        """The largest level below the width, or the width where there is no other."""
        return self.levels[-2:][0]


class NestedFVU(Term):
    """``sum_k a_k |x - x^_k|^2 / |x - mean|^2 / sum_k a_k`` over the levels k, a row by its own.

    ``mean`` is that of the data. Each row's error is a share of that row's own squared distance
    from it, so that short rows count as much as long ones; a row nearer than :data:`LEAST` of the
    mean squared distance counts as one at that. A level adds to the reconstruction of the level
    below it what its further latents contribute; at the width all positive latents are active,
    which is a dense product.
    """

    name = "nested_fvu"
    unit = "share of a row's squared distance from the mean, averaged over the levels"
    rebuilds = False

    mean: Tensor
    variance: Tensor

    def __init__(self, weights: list[float], elements: int) -> None:
        super().__init__()
        total = sum(weights)
        self.weights = [weight / total for weight in weights]
        self.register_buffer("mean", torch.zeros(elements))
        self.register_buffer("variance", torch.ones(()))

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Centre the data by the decoder's bias, and measure their mean and variance."""
        dictionary = model.part_as("decoder", Dictionary, self)
        flat = look.tensor.flatten(1).double()
        variance = flat.var(0, correction=0).mean()
        if not bool(variance > 0):
            raise IsthmusError("every row of the data is the same: there is nothing to learn")
        self.mean.copy_(flat.mean(0))
        self.variance.copy_(variance)
        dictionary.bias.copy_(self.mean)

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        dictionary = model.part_as("decoder", Dictionary, self)
        bottleneck = model.part_as("bottleneck", NestedTopK, self)
        target = out.target.flatten(1)
        row_variance = (target - self.mean).square().mean(1).clamp_min(LEAST * self.variance)
        centred = target - dictionary.bias
        loss = torch.zeros(len(centred), device=centred.device)
        *lower, _ = bottleneck.levels
        if lower:
            errors = left_over(out.code_as(SparseCode, self), lower, dictionary.weight, centred)
            for weight, left in zip(self.weights, errors, strict=False):
                loss = loss + weight * left.square().mean(1)
        everything = torch.relu(out.code_as(AnySparseCode, self).preactivations.dense())
        left = centred - everything @ dictionary.weight
        return (loss + self.weights[-1] * left.square().mean(1)) / row_variance


@recipe(
    "msae",
    family="sparse",
    catalogue=107,
    paper="Zaigrajew, Baniecki, Biecek, Interpreting CLIP with Hierarchical Sparse Autoencoders, "
    "2025, arXiv:2502.20578",
    formula="z_k = TopK_k(ReLU(W_e (x - b) + c)) for k in {64, 128, ..., width},  "
    "x^_k = W_d z_k + b,  L = sum_k a_k |x - x^_k|^2 / |x - mean|^2 / sum_k a_k, row by row",
    claim="Training several levels of sparsity at once beats ReLU-L1, TopK and BatchTopK over the "
    "whole range of fidelity and sparsity.",
    training={
        "epochs": 30,
        "lr": 1e-4,
        "batch_size": 4096,
        "optimiser_options": {"eps": 6.25e-10},
        "lr_schedule": "last-fifth",
        "clip": 1.0,
    },
    scaling="global",
)
def msae(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 64,
    weighting: Annotated[
        Literal["uniform", "reverse"],
        Field(description="uniform, or reverse: small k weigh most"),
    ] = "uniform",
) -> Autoencoder:
    """One dictionary that rebuilds at any number of active latents, from k to all.

    The k largest latents of an example have to rebuild it, and so have the 2k largest, and so on
    to all positive ones: the loss is the mean over these levels. A larger code refines a smaller
    one. At inference the k largest are active, or any other number after
    ``model.bottleneck.use(128)``, which is saved with the model. Levels up to one k, every number
    below it among them, are HierarchicalTopK: ``topk`` with ``budgets``.

    Published: levels from 64, doubling up to the width of 8 to 32 times the data's, weights uniform
    (UW) or falling from m to 1 over the m levels (RW), each row's error over its own squared
    distance from the mean, Adam at 1e-4 with eps 6.25e-10 over 30 epochs, the rate falling to zero
    over the last fifth of them (so the code, whose comment says cosine), batches of 4096, gradients
    clipped at 1, mean-centred inputs, the encoder a hundredth of the decoder's transpose. Here the
    decoder's bias starts at the mean instead, the rate falls by steps, not epochs, and decoder rows
    are brought back to norm 1 without the encoder making up for it. The upper levels are dense
    products: a step costs several times one of TopK.
    """
    check_active(latent_dim, k=k)
    levels = doubling(k, latent_dim)
    count = len(levels)
    weights = [1.0] * count if weighting == "uniform" else [float(count - i) for i in range(count)]
    dictionary = Dictionary(latent_dim, signal.shape)
    encoder = DictionaryEncoder(dictionary)
    with torch.no_grad():
        encoder.weight.mul_(START)
    return Autoencoder(
        signal,
        encoder=encoder,
        bottleneck=NestedTopK(latent_dim, levels),
        decoder=dictionary,
        objective=NestedFVU(weights, signal.numel),
    )
