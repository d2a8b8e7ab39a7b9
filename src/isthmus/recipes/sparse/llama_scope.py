"""The TopK sparse autoencoder of Llama Scope: free decoder norms that count in the selection."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import TopK
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.recipes.options import ActiveLatents, DeadAfter, DictionaryDim, check_active
from isthmus.recipes.registry import recipe


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
    dead_after: DeadAfter = 10_000_000,
) -> Autoencoder:
    """A TopK dictionary whose atoms have any length, by which latents are weighed against others.

    A latent is chosen by what it would contribute, ``h_i |d_i|``, so that no decoder row needs to
    be normalised. k falls linearly to its end over the first tenth of the run: early on every
    latent is used and learns. :func:`isthmus.recipes.sparse.jumprelu.to_jumprelu` replaces k by
    one threshold after training; k itself is the rule at inference until then.

    Published: k = 50 from a start at the width of the activations, dictionaries 8 and 32 times as
    wide, activations scaled to a fixed norm (``scaling=global``), no auxiliary loss. Here: the rate
    of the authors' library, 4e-4, with a warm-up of 500 steps instead of 5000; decoder rows start
    at norm 1, the encoder as their transpose, scaled so that the first reconstruction is best (in
    closed form; the authors search a grid for the norm), and the decoder's bias at the geometric
    median. Without that scale the many latents of the start overshoot, and what they unlearn spoils
    the dictionary.
    """
    elements = signal.numel
    start = min(max(elements, k), latent_dim) if k_start is None else k_start
    check_active(latent_dim, k=k, k_start=k_start)
    dictionary = Dictionary(latent_dim, signal.shape, unit=False)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=False),
        bottleneck=TopK(latent_dim, k, dead_after, start=start, weigh=True, fit_scale=True),
        decoder=dictionary,
        objective=MSE(),
    )
