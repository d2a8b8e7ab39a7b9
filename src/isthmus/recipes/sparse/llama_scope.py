"""The TopK sparse autoencoder of Llama Scope: free decoder norms that count in the selection."""

from typing import Annotated

import torch
from pydantic import Field

from isthmus.anatomy import Autoencoder, Look, Signal
from isthmus.bottlenecks import TopK
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    ActiveLatents,
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    Revive,
    check_active,
)
from isthmus.recipes.registry import recipe


class EvenTopK(TopK):
    """TopK whose model starts with rows of one norm in encoder and decoder, as the authors search.

    The norm with which the first reconstruction is best is the root of the factor that the encoder
    alone would get. With the decoder's rows left at 1 the same learning rate would move one half
    many times as fast as the other, relative to its size.
    """

    by_latent = ()

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start at the geometric median and the best scale, dealt to both halves alike."""
        super().prepare(model, look)
        encoder = model.part_as("encoder", DictionaryEncoder, self)
        decoder = model.part_as("decoder", Dictionary, self)
        root = encoder.weight.norm(dim=1).mean().sqrt()
        encoder.weight.div_(root)
        decoder.weight.mul_(root)


@recipe(
    "llama-scope",
    family="sparse",
    catalogue=64,
    paper="He, Shu, Ge, Chen, Wang, Zhou, Liu, Guo, Huang, Wu, Jiang, Qiu, Llama Scope: Extracting "
    "Millions of Features from Llama-3.1-8B with Sparse Autoencoders, 2024, arXiv:2410.20526",
    formula="h = W_e x + b_e,  z = h where h_i |d_i| is among the k largest, else 0 (rectified),  "
    "x^ = W_d z + b_d,  L = |x - x^|^2 / d",
    claim="A falling k and norm-weighted selection keep TopK's quality and leave fewer latents "
    "dead, and one threshold afterwards turns the dictionary into JumpReLU.",
    training={
        "steps": 10_000,
        "lr": 4e-4,
        "batch_size": 4096,
        "lr_schedule": "cool-down",
        "warmup": 500,
    },
    scaling="global",
)
def llama_scope(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 50,
    k_start: Annotated[
        int | None,
        Field(
            gt=0,
            description="k at first, falling over a tenth of the run (none: the elements of an "
            "example, at most latent_dim)",
        ),
    ] = None,
    revive: Revive = "auto",
    auxk_weight: AuxWeight = 0.0,
    dead_after: DeadAfter = 10_000_000,
) -> Autoencoder:
    """A TopK dictionary whose atoms have any length, by which latents are weighed against others.

    A latent is chosen by what it would contribute, ``h_i |d_i|``, so that no decoder row needs to
    be normalised. k falls linearly to its end over the first tenth of the run: early on every
    latent is used and learns. :func:`isthmus.recipes.sparse.jumprelu.to_jumprelu` replaces k by
    one threshold after training; k itself is the rule at inference until then.

    Published: k = 50 from a start at the width of the activations, dictionaries 8 and 32 times as
    wide, activations scaled to a fixed norm (``scaling=global``), no auxiliary loss, the encoder
    the decoder's transpose, both of the one norm with which the first reconstruction is best. Of
    the authors' library: the rate of 4e-4, which falls to 1/32 of it over the last fifth of the
    run. Here: a warm-up of 500 steps instead of 5000, the norm in closed form where they search a
    grid, and the decoder's bias at the geometric median, where theirs is zero by default. Without
    that norm the many latents of the start overshoot, and what they unlearn spoils the dictionary.
    """
    elements = signal.numel
    start = min(max(elements, k), latent_dim) if k_start is None else k_start
    check_active(latent_dim, k=k, k_start=k_start)
    dictionary = Dictionary(latent_dim, signal.shape, unit=False)
    objective, parts = with_help(MSE(), dictionary, revive, auxk_weight, weigh=True)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=False),
        bottleneck=EvenTopK(latent_dim, k, dead_after, start=start, weigh=True, fit_scale=True),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
