"""The gated sparse autoencoder."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Linear, Signal, Watch
from isthmus.bottlenecks import Gated
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import (
    ActiveLatents,
    Coefficient,
    GateError,
    GateL1,
    Held,
    L0Control,
    SquaredError,
)
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
    "gated",
    family="sparse",
    paper="Rajamanoharan, Conmy, Smith, Lieberum, Varma, Kramar, Shah, Nanda, Improving "
    "Dictionary Learning with Gated Sparse Autoencoders, 2024, arXiv:2404.16014",
    formula="pi = W_g (x - b) + b_g,  z = 1[pi > 0] ReLU(e^r W_g (x - b) + b_m),  x^ = W_d z + b,  "
    "L = |x - x^|^2 + lambda |ReLU(pi)|_1 + |x - x^_frozen(ReLU(pi))|^2",
    claim="Gated dictionaries rebuild better than ReLU with an L1 penalty at equal L0, do not "
    "shrink, and are as easy to interpret.",
    training={
        "steps": 100_000,
        "lr": 1.2e-3,
        "batch_size": 4096,
        "optimiser_options": {"betas": [0.0, 0.999]},
        "warmup": 1000,
    },
    scaling="norm",
)
def gated(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    l0: TargetL0 = None,
    l0_start: StartL0 = None,
    sparsity: Annotated[
        NonNegative, Field(description="lambda: price of the gates' L1 norm")
    ] = 0.1,
    sparsity_steps: Annotated[
        int,
        Field(gt=0, description="steps over which lambda rises (at most 0.8 of the run)"),
        Meant("ramp"),
    ] = 1000,
    revive: Revive = "auto",
    auxk_weight: AuxWeight = 0.0,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A dictionary that decides on one path which latents are on, and on another how large.

    An L1 penalty shrinks what it makes sparse; here it acts on the gates alone, so sizes are free.
    Both paths share one weight but for a factor e^r and a bias each. The gates' own rebuild, by the
    decoder held fixed, keeps them truthful. Inputs are scaled to a mean squared norm of 1, on which
    lambda depends; decoder rows keep norm 1, and the encoder starts as their transpose. With
    ``unit=False`` rows have any norm, by which a gate's price is multiplied.

    With ``l0`` no lambda has to be chosen: biases start where that many latents are active, and a
    control holds L0 at the target by lambda and by a common shift of the biases. Without it the
    decoder's bias starts at the geometric median of the data, and the encoder is scaled so that the
    first reconstruction is best.

    Published: Adam with beta1 = 0 at 3e-4, rate and lambda rising over 1000 steps, batches of 4096;
    lambda is swept, and 0.1 here is no more than a place to begin. Dead latents were resampled
    (``revive=resample``, or ``auxk``; here nothing unless asked for), and the rate is 1.2e-3
    (docs/benchmarks.md).
    """
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    encoder = DictionaryEncoder(dictionary, subtract_bias=subtract_bias)
    control = None if l0 is None else L0Control(l0, latent_dim, l0_start)
    bottleneck = Gated(latent_dim, dead_after, control=control)
    objective = SquaredError() + GateError() + Watch(ActiveLatents())
    if control is None:
        objective = objective + Linear(0.0, sparsity, sparsity_steps) * GateL1(weigh=not unit)
    else:
        objective = objective + GateL1(weigh=not unit) * Held(control) + Watch(Coefficient())
    objective, parts = with_help(objective, dictionary, revive, auxk_weight)
    return Autoencoder(
        signal,
        encoder=encoder,
        bottleneck=bottleneck,
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
