"""The ReLU sparse autoencoder with an L1 penalty."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Constant, Linear, Signal, Watch
from isthmus.bottlenecks import ReLU
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import L1, MSE, ActiveLatents, Coefficient, Held, L0Control, NormL1
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    Meant,
    NonNegative,
    Revive,
    StartL0,
    SubtractBias,
    TargetL0,
    UnitRows,
)
from isthmus.recipes.registry import recipe


@recipe(
    "relu-l1",
    family="sparse",
    catalogue=29,
    paper="Cunningham, Ewart, Riggs, Huben, Sharkey, Sparse Autoencoders Find Highly "
    "Interpretable Features in Language Models, 2023, arXiv:2309.08600",
    formula="z = ReLU(W_e (x - b) + b_e),  x^ = W_d z + b,  L = |x - x^|^2 / d + alpha |z|_1",
    claim="Directions found by an L1 dictionary are easier to interpret than principal or "
    "independent components and neurons, and single out a behaviour with fewer directions.",
    training={"steps": 10_000, "lr": 1e-3, "batch_size": 4096},
    scaling="global",
)
def relu_l1(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    l0: TargetL0 = None,
    l0_start: StartL0 = None,
    sparsity: Annotated[NonNegative, Field(description="alpha: price of the L1 norm")] = 8.6e-4,
    sparsity_steps: Annotated[
        int,
        Field(ge=0, description="steps over which alpha rises (at most 0.8 of the run; 0: none)"),
        Meant("ramp"),
    ] = 0,
    tied: Annotated[bool, Field(description="one weight for encoder and decoder")] = False,
    revive: Revive = "auto",
    auxk_weight: AuxWeight = 0.0,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A wide dictionary whose latents pay for their size, which drives most of them to zero.

    The oldest of these dictionaries, and the one the others are measured against: the penalty also
    shrinks the latents that remain. Inputs are scaled to a mean squared element of 1, on which
    alpha depends; atoms keep norm 1, or with ``unit=False`` any: a latent then pays for its size
    times the length of its atom.

    With ``l0`` no alpha has to be chosen: biases start where that many latents are active, and a
    control holds L0 at the target by alpha and by a common shift of the biases. Without it the
    decoder's bias starts at the geometric median of the data, and the encoder is scaled so that the
    first reconstruction is best (a tied one gets biases instead).

    Published: Adam at 1e-3, alpha 8.6e-4 for the residual stream (swept from 1e-4 to 1e-2), and a
    decoder tied to the encoder, which has no bias. Here the decoder has one, and is a weight of its
    own that the encoder starts from, as in most dictionaries since; ``tied`` gives the paper's.
    """
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    encoder = DictionaryEncoder(dictionary, subtract_bias=subtract_bias)
    if tied:
        encoder.weight = dictionary.weight
    control = None if l0 is None else L0Control(l0, latent_dim, l0_start)
    price = 2.0 / dictionary.bias.numel()
    bottleneck = ReLU(latent_dim, dead_after, control=control, price=price)
    penalty = L1() if unit else NormL1()
    if control is None:
        weight = Linear(0.0, sparsity, sparsity_steps) if sparsity_steps else Constant(sparsity)
        objective = MSE() + weight * penalty + Watch(ActiveLatents())
    else:
        watched = Watch(ActiveLatents()) + Watch(Coefficient())
        objective = MSE() + penalty * Held(control) + watched
    objective, parts = with_help(objective, dictionary, revive, auxk_weight)
    return Autoencoder(
        signal,
        encoder=encoder,
        bottleneck=bottleneck,
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
