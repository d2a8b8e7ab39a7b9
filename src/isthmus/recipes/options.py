"""Option types that many recipes share, so that a name means the same everywhere."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from torch import nn

from isthmus.anatomy import Bernoulli, Gaussian, Likelihood, Signal
from isthmus.errors import IsthmusError

LatentDim = Annotated[int, Field(gt=0, description="number of latents")]
ActiveLatents = Annotated[int, Field(gt=0, description="active latents per example")]
TargetL0 = Annotated[
    float | None,
    Field(gt=0, description="active latents to aim at; the coefficient is then found, not chosen"),
]
DeadAfter = Annotated[
    int,
    Field(
        gt=0, description="silent rows after which a latent is dead (at most a tenth of the run)"
    ),
]
AuxLatents = Annotated[int, Field(gt=0, description="dead latents that AuxK uses per example")]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
AuxWeight = Annotated[NonNegative, Field(description="weight of AuxK; 0 is without")]
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
LikelihoodName = Annotated[
    Literal["auto", "bernoulli", "gaussian"],
    Field(description="observation model; auto is bernoulli for images in [0, 1], else gaussian"),
]
Sigma = Annotated[float, Field(gt=0, description="standard deviation of a gaussian likelihood")]


def likelihood_for(signal: Signal, name: LikelihoodName, sigma: float) -> Likelihood:
    """The observation model of that name; Bernoulli needs values in [0, 1]."""
    if name == "auto":
        name = "bernoulli" if signal.kind == "image" and signal.is_unit else "gaussian"
    if name == "gaussian":
        return Gaussian(sigma)
    if not signal.is_unit:
        raise IsthmusError(
            "likelihood=bernoulli needs values between 0 and 1: rescale the data, set "
            "scaling=none, or use likelihood=gaussian"
        )
    return Bernoulli()


def check_active(latent_dim: int, **counts: int | None) -> None:
    """Refuse a number of active latents, by the name of its option, above the number there are."""
    for name, count in counts.items():
        if count is not None and count > latent_dim:
            raise IsthmusError(
                f"{name}={count} is more than latent_dim={latent_dim}: choose a smaller {name}"
            )
