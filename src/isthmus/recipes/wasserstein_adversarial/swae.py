"""The sliced-Wasserstein autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import (
    Autoencoder,
    Bernoulli,
    Clock,
    Objective,
    Output,
    Prior,
    Sampler,
    Schedule,
    Signal,
    Term,
    expect,
)
from isthmus.anatomy.randomness import drawing
from isthmus.bottlenecks import Identity, StandardNormal
from isthmus.errors import IsthmusError, unknown
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import MSE, NegativeLogLikelihood
from isthmus.recipes.options import (
    Hidden,
    LatentDim,
    Network,
    NonNegative,
    OwnModule,
    RangeName,
    likelihood_for,
)
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float

EPOCHS = 30
"""Length of the authors' run, over which the weight of the distance grows."""

_HELD = 11


def directions(
    number: int, dim: int, like: Float[Tensor, "*any"]
) -> Float[Tensor, "directions dim"]:
    """``number`` unit vectors, uniform on the sphere in ``dim`` dimensions."""
    drawn = torch.randn(number, dim, device=like.device, dtype=like.dtype)
    return F.normalize(drawn, dim=1)


def sliced_wasserstein(
    a: Float[Tensor, "rows dim"], b: Float[Tensor, "rows dim"], along: Float[Tensor, "lines dim"]
) -> Float[Tensor, ""]:
    """Squared 2-Wasserstein distance of two sets of points, averaged over lines.

    Points of both are projected on each row of ``along`` (unit vectors); on a line the optimal
    transport pairs the sorted values. In squared units of the points. Kolouri et al. 2018.
    """
    first, second = (a @ along.T).sort(0).values, (b @ along.T).sort(0).values
    return (first - second).square().mean()


class SlicedWasserstein(Term):
    """Distance of the batch's codes from as many fresh draws of the model's prior."""

    name = "sliced_wasserstein"
    unit = "squared latent units"
    per_example = False
    estimator = (
        "two samples as large as the batch, along random lines: above the distance of the "
        "distributions by a bias that falls as the batch grows"
    )

    def __init__(self, projections: int) -> None:
        self.projections = projections

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        prior = expect(model.prior, Prior, "prior", self)
        codes = out.code.z
        drawn = prior.sample(len(codes)).to(codes)
        return sliced_wasserstein(codes, drawn, directions(self.projections, codes.shape[1], codes))


class AbsoluteError(Term):
    """Absolute error, averaged over the elements of each example."""

    name = "absolute_error"
    unit = "absolute error per element, in the model's units"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return (out.need_recon() - out.target).abs().flatten(1).mean(1)


class CrossEntropy(NegativeLogLikelihood):
    """Binary cross-entropy, averaged over the elements of each example."""

    name = "cross_entropy"
    unit = "nats per element"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return super().forward(model, out) / out.target[0].numel()


class Ring(Prior):
    """The unit sphere (a circle, for two latents) with Gaussian noise of 0.01."""

    def __init__(self, latent_dim: int, noise: float = 0.01) -> None:
        super().__init__()
        self.latent_dim, self.noise = latent_dim, noise

    def sample(self, n: int) -> Tensor:
        points = directions(n, self.latent_dim, torch.empty(0))
        return points + self.noise * torch.randn(n, self.latent_dim)


class Disk(Prior):
    """The unit ball (a disk, for two latents), its radius uniform and so denser within."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def sample(self, n: int) -> Tensor:
        return directions(n, self.latent_dim, torch.empty(0)) * torch.rand(n, 1)


class Square(Prior):
    """The cube from -1 to 1 (a square, for two latents), uniform."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def sample(self, n: int) -> Tensor:
        return 2.0 * torch.rand(n, self.latent_dim) - 1.0


_PRIORS: dict[str, Callable[[int], Prior]] = {
    "ring": Ring,
    "disk": Disk,
    "square": Square,
    "gaussian": StandardNormal,
}


def _prior(prior: str | Callable[[int], Tensor], latent_dim: int) -> Prior:
    """The sampler of that name; one of the user's own is tried, since it may return anything."""
    if isinstance(prior, str):
        if prior not in _PRIORS:
            raise unknown("prior", prior, _PRIORS)
        return _PRIORS[prior](latent_dim)
    with drawing(torch.device("cpu"), 0):
        drawn = prior(2)
    if not isinstance(drawn, Tensor) or tuple(drawn.shape) != (2, latent_dim):
        raise IsthmusError(
            f"the prior must return a tensor (n, {latent_dim}) for n rows, and for n=2 it returned "
            f"{tuple(drawn.shape) if isinstance(drawn, Tensor) else type(drawn).__name__}: change "
            "it, or latent_dim"
        )
    return Sampler(prior)


@dataclass(frozen=True)
class Rising(Schedule):
    """``weight`` for eleven of the authors' thirty epochs, then times ``growth`` at each more.

    An epoch is a thirtieth of the run, whatever its length.
    """

    weight: float
    growth: float

    def __call__(self, clock: Clock) -> float:
        # In whole numbers, since a share such as 11/30 of the run may fall short by rounding.
        epoch = min(EPOCHS * clock.step // max(1, clock.total), EPOCHS - 1)
        return self.weight * self.growth ** max(0, epoch - _HELD + 1)


@recipe(
    "swae",
    family="wasserstein-adversarial",
    catalogue=137,
    paper="Kolouri, Pope, Martin, Rohde, Sliced-Wasserstein Autoencoder: An Embarrassingly Simple "
    "Generative Model, 2018, arXiv:1804.01947",
    formula="L = c(x, g(f(x))) + lambda (1/(L M)) sum_l sum_m (sort(theta_l.f(x))_m - "
    "sort(theta_l.z)_m)^2,  z ~ prior",
    claim="Sliced-Wasserstein latent matching shapes the latent into any samplable prior with "
    "quality like VAE/WAE but no adversary or closed form.",
    training={
        "epochs": EPOCHS,
        "lr": 1e-3,
        "batch_size": 500,
        "optimiser": "rmsprop",
        "optimiser_options": {"alpha": 0.9, "eps": 1e-7},
    },
)
def swae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 2,
    prior: Annotated[
        str | Callable[[int], Tensor],
        Field(
            description="distribution of the codes: ring, disk, square, gaussian, or from Python "
            "any function n -> (n, latent_dim)"
        ),
    ] = "ring",
    projections: Annotated[int, Field(gt=0, description="random lines L per step")] = 50,
    weight: Annotated[
        NonNegative, Field(description="weight lambda of the sliced distance at first")
    ] = 10.0,
    growth: Annotated[
        float,
        Field(
            gt=0, le=10, description="factor on the weight at each thirtieth of the run after 11"
        ),
    ] = 1.1,
    l1: Annotated[NonNegative, Field(description="weight of the absolute error")] = 1.0,
    network: Network = "auto",
    hidden: Hidden = None,
    likelihood: RangeName = "auto",
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """Shape the codes into any distribution that can be sampled, by sorting along random lines.

    On a line the optimal transport between two samples pairs them in order, so the distance of
    codes and prior needs one sort per line and no adversary, kernel or density; gradients pass
    through the pairing. The code is deterministic.

    Published (the authors' demonstration on MNIST): two latents, 50 fresh lines per batch of 500,
    the cost c of binary cross-entropy plus absolute error, both per pixel, the distance weighted
    by 10 for eleven epochs and by 1.1 times more at each of nineteen others, RMSprop at 1e-3 with
    Keras's constants. A run of another length keeps the shares. Outside [0, 1] or with
    ``likelihood=gaussian`` the squared error per element takes the cross-entropy's place. Ring,
    disk and square are theirs too, continued here to more than two latents. The networks are the
    library's own for the signal.
    """
    observed = likelihood_for(signal, likelihood, sigma=1.0)
    cost: Term = CrossEntropy() if isinstance(observed, Bernoulli) else MSE()
    objective: Objective = cost + l1 * AbsoluteError() if l1 else cost * 1.0
    return Autoencoder(
        signal,
        encoder=encoder or encoder_for(signal, latent_dim, network, hidden=hidden),
        bottleneck=Identity(),
        decoder=decoder or decoder_for(signal, latent_dim, network, hidden=hidden),
        objective=objective + SlicedWasserstein(projections) * Rising(weight, growth),
        likelihood=observed,
        prior=_prior(prior, latent_dim),
    )
