"""Option types that many recipes share, so that a name means the same everywhere."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from torch import nn

from isthmus.anatomy import Bernoulli, Gaussian, Likelihood, Signal
from isthmus.errors import IsthmusError
from isthmus.likelihoods import (
    ContinuousBernoulli,
    DiscretisedLogistic,
    FullGaussian,
    Laplace,
    LearnedGaussian,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)


@dataclass(frozen=True)
class Meant:
    """What the number of an option is, beside its type: where the data are of another size than
    the published value is meant for, :mod:`isthmus.recipes.sizes` chooses by that."""

    role: Literal["code", "surplus", "dictionary", "active", "head", "ramp"]


LatentDim = Annotated[int, Field(gt=0, description="number of latents"), Meant("code")]
SurplusDim = Annotated[int, Field(gt=0, description="number of latents"), Meant("surplus")]
"""Of recipes that find by themselves which latents are superfluous."""
DictionaryDim = Annotated[int, Field(gt=0, description="number of latents"), Meant("dictionary")]
ActiveLatents = Annotated[
    int, Field(gt=0, description="active latents per example"), Meant("active")
]
RowsInMemory = Annotated[
    int, Field(gt=1, description="rows that are held in memory at most; of more, as many at random")
]
Iterations = Annotated[int, Field(gt=0, description="iterations of the solver at most")]
TargetL0 = Annotated[
    float | None,
    Field(gt=0, description="active latents to aim at; the coefficient is then found, not chosen"),
]
StartL0 = Annotated[
    float | None,
    Field(
        gt=0,
        description="with l0: the target at first, falling over a fifth of the run (none: "
        "always l0)",
    ),
]
DeadAfter = Annotated[
    int,
    Field(
        gt=0, description="silent rows after which a latent is dead (at most a tenth of the run)"
    ),
]
AuxLatents = Annotated[
    int | None,
    Field(
        gt=0,
        description="dead latents that AuxK uses per example (none: half the elements of a row, as "
        "a power of two)",
    ),
]
Select = Annotated[
    Literal["batch", "row"],
    Field(description="with k: k per example on average over a batch, or in each row"),
]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
AuxWeight = Annotated[NonNegative, Field(description="weight of AuxK; 0 is without")]
AuxKWeight = Annotated[
    NonNegative | None, Field(description="weight of AuxK (none: 1/32 with k, else 0)")
]
Revive = Annotated[
    Literal["auto", "none", "auxk", "resample"],
    Field(
        description="what helps dead latents: auxk lets them explain the residual, resample starts "
        "them anew at rows that are rebuilt badly (auto: auxk where auxk_weight is above 0)"
    ),
]
SubtractBias = Annotated[bool, Field(description="subtract the decoder's bias before encoding")]
UnitRows = Annotated[bool, Field(description="keep the decoder's rows at norm 1")]
Network = Annotated[
    Literal["auto", "mlp", "conv", "transformer"],
    Field(description="kind of encoder and decoder; auto is conv for images, mlp otherwise"),
]
Hidden = Annotated[
    tuple[int, ...] | None,
    BeforeValidator(lambda value: (value,) if isinstance(value, int) else value),
    Field(description="widths of the hidden layers, data to latent; none: the network's own"),
]
OwnModule = Annotated[nn.Module | None, Field(description="a module of your own, used as it is")]
_AUTO = "auto is bernoulli for images in [0, 1], else gaussian"
LikelihoodName = Annotated[
    Literal[
        "auto",
        "bernoulli",
        "continuous-bernoulli",
        "discretised-logistic",
        "full-gaussian",
        "gaussian",
        "laplace",
        "learned-gaussian",
        "negative-binomial",
        "poisson",
        "zero-inflated-negative-binomial",
        "zero-inflated-poisson",
    ],
    Field(description=f"observation model; {_AUTO}"),
]
RangeName = Annotated[
    Literal["auto", "bernoulli", "gaussian"], Field(description=f"observation model; {_AUTO}")
]
"""The choice where all that matters is whether the data lie in [0, 1]."""
Sigma = Annotated[
    float,
    Field(
        gt=0,
        description="standard deviation of a gaussian or laplace likelihood; where learned, its "
        "start",
    ),
]

_UNIT = {"bernoulli", "continuous-bernoulli", "discretised-logistic"}
COUNTS = {
    "negative-binomial",
    "poisson",
    "zero-inflated-negative-binomial",
    "zero-inflated-poisson",
}
Crop = Annotated[
    float, Field(gt=0, le=1, description="smallest share of an image that a crop keeps")
]
Noise = Annotated[
    NonNegative, Field(description="standard deviation of gaussian noise, in the model's units")
]
Erase = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="probability that a rectangle of an image is erased; for other signals, "
        "share of the elements set to zero",
    ),
]


def likelihood_for(signal: Signal, name: LikelihoodName, sigma: float) -> Likelihood:
    """The observation model of that name, for decoders that return its ``numbers``.

    ``sigma`` is the standard deviation of a Gaussian and of a Laplace likelihood, and where a
    learned one starts. A range of the data that does not fit is an :class:`IsthmusError`; what
    the range does not tell (whole numbers) is checked on a sample when the model is prepared.
    """
    if name == "auto":
        name = "bernoulli" if signal.kind == "image" and signal.is_unit else "gaussian"
    if name in _UNIT and not signal.is_unit:
        raise IsthmusError(
            f"likelihood={name} needs values between 0 and 1: set scaling=unit, or scaling=none "
            "where they are, or use likelihood=gaussian"
        )
    if name in COUNTS and (signal.low is None or signal.low < 0.0):
        raise IsthmusError(
            f"likelihood={name} needs whole numbers of 0 or more: pass counts with scaling=none, "
            "or use likelihood=gaussian"
        )
    if signal.kind == "image" and signal.dtype == "uint8" and name in COUNTS:
        raise IsthmusError(
            f"likelihood={name} needs whole numbers, and bytes of images are read as fractions of "
            "255: convert them to float32, or use likelihood=discretised-logistic"
        )
    return _made(signal, name, sigma)


def _made(signal: Signal, name: LikelihoodName, sigma: float) -> Likelihood:
    match name:
        case "bernoulli":
            return Bernoulli()
        case "continuous-bernoulli":
            return ContinuousBernoulli()
        case "discretised-logistic":
            return DiscretisedLogistic()
        case "full-gaussian":
            return FullGaussian()
        case "laplace":
            return Laplace(sigma / math.sqrt(2.0))
        case "learned-gaussian":
            return LearnedGaussian(sigma=sigma)
        case "negative-binomial":
            return NegativeBinomial(signal.shape)
        case "poisson":
            return Poisson()
        case "zero-inflated-negative-binomial":
            return ZeroInflatedNegativeBinomial(signal.shape)
        case "zero-inflated-poisson":
            return ZeroInflatedPoisson()
        case _:
            return Gaussian(sigma)


def check_active(latent_dim: int, *, l0: float | None = None, **counts: int | None) -> None:
    """Refuse a number of active latents, by the name of its option, above the number there are.

    A ``k`` beside an ``l0`` is refused, too.
    """
    k = counts.get("k")
    if k is not None and l0 is not None:
        raise IsthmusError(f"k={k} and l0={l0:g} both say how many are active: choose one")
    for name, count in counts.items():
        if count is not None and count > latent_dim:
            raise IsthmusError(
                f"{name}={count} is more than latent_dim={latent_dim}: choose a smaller {name}"
            )


def check_real_parts(signal: Signal, who: str) -> None:
    """Refuse a collection with a part that is not of real numbers; ``who`` would read it."""
    for name, part in signal.parts.items():
        if not part.is_real:
            raise IsthmusError(f"{who} reads real numbers, and {name!r} is {part}: leave it out")
