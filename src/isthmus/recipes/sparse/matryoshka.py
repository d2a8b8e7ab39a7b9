"""The Matryoshka sparse autoencoder, whose prefixes are dictionaries of their own."""

import itertools
import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Output, Signal, SparseCode, Term
from isthmus.bottlenecks import BatchTopK
from isthmus.errors import IsthmusError
from isthmus.kernels import adaptive_decode
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives.dead_latents import with_help
from isthmus.ranks import once, shard_held, summed
from isthmus.recipes.options import (
    ActiveLatents,
    AuxLatents,
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    Revive,
    check_active,
)
from isthmus.recipes.registry import recipe


def prefix_ends(shares: tuple[float, ...], width: int) -> list[int]:
    """Where the prefixes end: increasing, the last at ``width``; groups that round to none go."""
    if not shares or min(shares) <= 0.0 or not math.isclose(sum(shares), 1.0):
        raise IsthmusError(
            f"shares={shares} are no shares of a whole: give positive numbers that add up to 1"
        )
    parts = list(itertools.accumulate(shares))[:-1]
    return sorted({max(1, round(part * width)) for part in parts} | {width})


def random_ends(count: int, width: int) -> list[int]:
    """``count`` ends of prefixes, the last at ``width``, the others drawn anew: short ones more.

    A length L has the probability ``(sqrt(L) - sqrt(L - 1)) / sqrt(width - 1)``, no length twice
    (Nabeshima 2024, the code of ``sample_prefixes``). Drawn on the processor, so that no step
    waits for an accelerator.
    """
    others = min(count, width) - 1
    if others < 1:
        return [width]
    roots = torch.arange(width, dtype=torch.float64).sqrt()
    drawn = torch.multinomial(roots.diff(), others)
    return [*sorted(int(place) + 1 for place in drawn), width]


class PrefixMSE(Term):
    """Squared error of the reconstruction from each prefix of the dictionary, averaged.

    ``mean over m of |x - x^_m|^2 / elements``, where ``x^_m`` is the decoder's bias and what the
    latents before ``ends[m]`` add. The empty prefix, the bias alone, is one of the reconstructions,
    as in the authors' code. One pass over the active latents serves all prefixes: each group adds
    to the last. With ``drawn`` training draws as many prefixes anew for each batch
    (:func:`random_ends`).
    """

    name = "prefix_mse"
    unit = "squared error per element, in the model's units"
    by_latent = ()

    def __init__(self, ends: list[int], *, drawn: bool = False) -> None:
        self.ends, self.drawn = ends, drawn

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        dictionary = model.part_as("decoder", Dictionary, self)
        ends = self.ends
        if self.drawn and model.training:
            ends = random_ends(len(ends), ends[-1])
        left = out.target.flatten(1) - once(dictionary.bias)
        total = left.square().mean(1) + out.squared_error() / left.shape[1]
        for start, end in zip([0, *ends], ends[:-1], strict=False):
            left = left - decode_group(out.code, dictionary.weight, start, end)
            total = total + left.square().mean(1)
        return total / (len(ends) + 1)


def decode_group(code: Code, weight: Tensor, start: int, end: int) -> Tensor:
    """What latents ``start`` to ``end`` (without it) contribute, ``(rows, d)``."""
    shard = shard_held()
    if shard is not None:  # by their numbers here
        start, end = max(0, start - shard.start), max(0, end - shard.start)
    if isinstance(code, SparseCode):
        inside = (code.indices >= start) & (code.indices < end)
        return summed(adaptive_decode(torch.where(inside, code.values, 0.0), code.indices, weight))
    return summed(code.z[:, start:end] @ weight[start:end])


@recipe(
    "matryoshka",
    family="sparse",
    paper="Bussmann, Nabeshima, Karvonen, Nanda, Learning Multi-Level Features with Matryoshka "
    "Sparse Autoencoders, 2025, arXiv:2503.17547",
    formula="z = BatchTopK(W_e (x - b) + b_e),  x^_m = W_d[:, :m] z[:m] + b,  "
    "L = mean_m |x - x^_m|^2 / d + (1/32) |e - e^|^2 / d,  m from 0 (the bias alone) to the width",
    claim="Prefixes that must rebuild alone keep general concepts whole: less absorption and "
    "splitting, better probing, at a small price in reconstruction.",
    training={
        "steps": 10_000,
        "lr": 1.2e-3,
        "batch_size": 4096,
        "optimiser_options": {"betas": [0.9, 0.99]},
    },
    scaling="global",
)
def matryoshka(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    shares: Annotated[
        tuple[float, ...], Field(description="shares of the latents that each prefix adds")
    ] = (1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2),
    prefixes: Annotated[
        Literal["fixed", "random"],
        Field(description="fixed, by the shares, or random: as many drawn anew for each batch"),
    ] = "fixed",
    revive: Revive = "auto",
    k_aux: AuxLatents = None,
    auxk_weight: AuxWeight = 1 / 32,
    dead_after: DeadAfter = 10_000_000,
) -> Autoencoder:
    """A dictionary within a dictionary within a dictionary: early latents are the general ones.

    Which latents are active is decided by BatchTopK among all of them. Each prefix of the
    dictionary has to rebuild the example with those of its own latents that are active, so the
    early ones cannot leave their general concept to later, more specific ones; the bias alone is
    the first of the reconstructions. At inference a
    latent is on where it exceeds one threshold, as for BatchTopK, and ``z[:, :m]`` is the code of
    the dictionary of the first m.

    Published: Adam at 3e-4 with betas (0.9, 0.99), batches of 2048 or 4096, prefixes that end at
    1/16, 1/8, 1/4, 1/2 and 1 of 36,864 latents, k = 32, AuxK of the whole reconstruction with
    weight 1/32, a latent dead after 20 batches (the authors' code). Nabeshima, a co-author, draws
    the prefixes at random, short ones more often (``prefixes="random"``). Here: as for BatchTopK in
    what differs, the rate of 1.2e-3 with it.
    """
    check_active(latent_dim, k=k)
    dictionary = Dictionary(latent_dim, signal.shape)
    objective = PrefixMSE(prefix_ends(shares, latent_dim), drawn=prefixes == "random") * 1.0
    objective, parts = with_help(objective, dictionary, revive, auxk_weight, k_aux)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary),
        bottleneck=BatchTopK(latent_dim, k, dead_after),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
