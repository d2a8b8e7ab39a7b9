"""The sparse autoencoder whose encoder is matching pursuit."""

from typing import Annotated

import torch
from pydantic import Field

from isthmus.anatomy import Autoencoder, Signal
from isthmus.anatomy.randomness import drawing
from isthmus.bottlenecks import MatchingPursuit
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, TiedEncoder
from isthmus.objectives import MSE
from isthmus.recipes.options import (
    ActiveLatents,
    DeadAfter,
    DictionaryDim,
    NonNegative,
    UnitRows,
)
from isthmus.recipes.registry import get_recipe, recipe


@recipe(
    "mp-sae",
    family="sparse",
    catalogue=212,
    paper="Costa, Fel, Lubana, Tolooshams, Ba, From flat to hierarchical: extracting sparse "
    "representations with matching pursuit, 2025, arXiv:2506.03093",
    formula="r_0 = x - b,  j_t = argmax_j <r_t, w_j>,  c_t = max(<r_t, w_j_t>, 0),  "
    "r_t+1 = r_t - c_t w_j_t,  x^ = b + sum_t c_t w_j_t,  L = |x - x^|^2 / d",
    claim="Latents that are chosen by what those before them have left over recover features of a "
    "hierarchy, whose levels are orthogonal only given the parent; one linear layer distorts them.",
    training={
        "steps": 10_000,
        "lr": 1.6e-3,
        "batch_size": 4096,
        "clip": 1.0,
        "average": 0.999,
        "warmup": 100,
    },
    scaling="global",
)
def mp_sae(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    orthogonal: Annotated[
        bool, Field(description="fit all coefficients anew after each step (OMP)")
    ] = False,
    tolerance: Annotated[
        NonNegative,
        Field(
            description="a row ends at the step that leaves at most this length of it, in the "
            "model's units (0: never)"
        ),
    ] = 0.0,
    until_repeat: Annotated[
        bool, Field(description="a row ends at the step that takes an atom again")
    ] = False,
    unit: UnitRows = True,
    dead_after: DeadAfter = 10_000_000,
) -> Autoencoder:
    """A dictionary whose atoms are taken one after the other, each for what is left over.

    Encoder and decoder are one matrix with rows of norm 1. A step takes the atom with the largest
    product with the residual, adds the product to its coefficient and subtracts it, so that the
    residual never grows and is orthogonal to the atom taken last. What an atom says of an example
    therefore depends on those before it: a child that is nearly parallel to its parent is found
    beside it. Gradients flow through all coefficients (the paper unrolls the steps; here the same
    gradient comes of one triangular system a row), and not through the choice.

    ``model.bottleneck.k`` may be set after training: the code of fewer steps is the beginning of
    that of more, and the error falls with every step. ``orthogonal`` is orthogonal matching
    pursuit, at a cost of k products with the dictionary. :func:`to_matching_pursuit` gives the
    dictionary of any other recipe this encoder. ``tolerance`` and ``until_repeat`` end rows before
    k steps, as SAELens's ``residual_threshold`` and ``stop_on_duplicate_support`` do; there k is
    the number of elements, and atoms are free to have other lengths than 1 (``unit``), of which
    a step then leaves something, or too much.

    A step costs k passes over the latents, where TopK has one: a code of 32 takes several times
    TopK's time. Nothing helps dead latents, as in the paper.

    Published: on made trees Adam at 3e-2 with betas (0.5, 0.9375), warm-up, a level and a decay,
    and gradients clipped; for language models no figures are fixed. Here: the rate, batch, clipping
    and average of ``topk``; the bias starts at the geometric median of the data.
    """
    if orthogonal and k > min(latent_dim, torch.Size(signal.shape).numel()):
        raise IsthmusError(
            f"k={k} is more than orthogonal pursuit can take of rows of "
            f"{torch.Size(signal.shape).numel()} elements and {latent_dim} latents: lower it"
        )
    return Autoencoder(
        signal,
        encoder=TiedEncoder(latent_dim, held=True, subtract_bias=True),
        bottleneck=MatchingPursuit(
            latent_dim,
            k,
            dead_after,
            orthogonal=orthogonal,
            tolerance=tolerance,
            until_repeat=until_repeat,
        ),
        decoder=Dictionary(latent_dim, signal.shape, unit=unit),
        objective=MSE() * 1.0,
    )


@torch.no_grad()
def to_matching_pursuit(model: Autoencoder, k: int, *, orthogonal: bool = False) -> Autoencoder:
    """The same dictionary with matching pursuit for its encoder: no training, other codes.

    Atoms are brought to norm 1 and keep their places; the decoder's bias and the scaler are the
    model's own. The result is a model of the recipe ``mp-sae``, in evaluation mode, that can be
    saved, evaluated, and fitted on (``fit("mp-sae", X, start=...)``). Any trained model with a
    linear dictionary of one part will do; others are an :class:`IsthmusError`.
    """
    dictionary = model.part_as("decoder", Dictionary, "matching pursuit with a model's atoms")
    page = get_recipe("mp-sae")
    options, _ = page.parse(
        {
            "latent_dim": len(dictionary.weight),
            "k": k,
            "orthogonal": orthogonal,
            "scaling": model.scaler.mode.removesuffix("-norm"),
        }
    )
    with drawing(torch.device("cpu"), 0):
        pursuing = page.build(model.signal, options).to(model.device)
    pursuing.scaler.load_state_dict(model.scaler.state_dict())
    pursuing.part_as("decoder", Dictionary, "matching pursuit").load_state_dict(
        dictionary.state_dict()
    )
    pursuing.part_as("decoder", Dictionary, "matching pursuit").constrain()
    pursuing.signal, pursuing.reference_rows = model.signal, model.reference_rows
    pursuing.prepared = {0}
    pursuing.config = {
        "recipe": page.name,
        "options": options,
        "training": {},
        "signal": model.signal.to_dict(),
        "data": model.config.get("data"),
    }
    return pursuing.eval()
