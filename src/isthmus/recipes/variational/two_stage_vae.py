"""The two-stage variational autoencoder."""

from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, GaussianCode, Output, Prior, Signal, Stage, Term, expect
from isthmus.bottlenecks import GaussianBottleneck, GaussianMixturePrior, StandardNormal
from isthmus.likelihoods import LearnedGaussian
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import KL, NegativeLogLikelihood, kl_to_standard_normal
from isthmus.recipes.options import (
    Hidden,
    LikelihoodName,
    Network,
    OwnModule,
    Positive,
    Sigma,
    SurplusDim,
    likelihood_for,
)
from isthmus.recipes.registry import recipe

SecondHidden = Annotated[
    tuple[int, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, int) else value),
    Field(description="widths of the hidden layers of the second encoder, and of its decoder"),
]


class Beside(nn.Module):
    """ReLU layers with their input beside their output, then a linear layer."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        sizes = (inputs, *hidden)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, hidden, strict=False))
        self.out = nn.Linear(inputs + hidden[-1] if hidden else inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.layers:
            h = torch.relu(layer(h))
        return self.out(torch.cat([x, h], -1) if len(self.layers) else x)


class SecondVAE(Prior):
    """The generative model of a VAE as a prior: ``u ~ N(0, I)``, ``z ~ N(f(u), gamma^2 I)``.

    Both u and z have ``latent_dim`` elements (Dai & Wipf 2019, section 4). ``sigma`` of the
    likelihood is their gamma. It is trained by :class:`SecondNLL` and :class:`SecondKL`.
    """

    def __init__(self, latent_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = Beside(latent_dim, hidden, 2 * latent_dim)
        self.bottleneck = GaussianBottleneck()
        self.decoder = Beside(latent_dim, hidden, latent_dim)
        self.likelihood = LearnedGaussian()
        self.base = StandardNormal(latent_dim)

    def encode(self, z: Tensor) -> GaussianCode:
        """The posterior of u given ``z`` ``(..., latent)``, with one draw of u as its ``z``."""
        code: GaussianCode = self.bottleneck(self.encoder(z))
        noise = self.base.sample(z.shape[:-1].numel()).view_as(z).to(code.mean)
        return GaussianCode(code.mean + noise * (0.5 * code.logvar).exp(), code.mean, code.logvar)

    def sample(self, n: int) -> Tensor:
        u = self.base.sample(n).to(self.likelihood.log_sigma)
        drawn: Tensor = self.likelihood.sample(self.decoder(u))
        return drawn

    def log_prob(self, z: Tensor) -> Tensor:
        """A bound on log p(z) in nats, ``(..., latent)`` to ``(...)``, by one draw of u each.

        log p(z | u) + log p(u) - log q(u | z), u drawn from q. Its mean is below log p(z); its
        exponential is unbiased, so that importance weights in which it stands for log p(z) keep
        bounding log p(x).
        """
        flat = z.reshape(-1, z.shape[-1]).to(self.likelihood.log_sigma)
        code = self.encode(flat)
        noise = (code.z - code.mean) * (-0.5 * code.logvar).exp()
        posterior = self.base.log_prob(noise) - 0.5 * code.logvar.sum(-1)
        likelihood = self.likelihood.log_prob(self.decoder(code.z), flat)
        return (likelihood + self.base.log_prob(code.z) - posterior).view(z.shape[:-1])

    def kl(self, mean: Tensor, logvar: Tensor) -> Tensor:
        """That to N(0, I), the first VAE's own: the bound on log p(z) here is known by draws only.

        Rows are scored by the first stage's bound, without draws of u.
        """
        return self.base.kl(mean, logvar)


class _OfTheSecond(Term):
    """A term about the second VAE, which reads draws of z from the first encoder."""

    unit = "nats"
    rebuilds = False

    def second(self, model: Autoencoder, out: Output) -> tuple[SecondVAE, Tensor, GaussianCode]:
        """The second VAE, the draws of z, and the codes u: once for all terms of a step."""
        prior, z = expect(model.prior, SecondVAE, "prior", self), out.code.z.detach()
        return prior, z, out.memo(SecondVAE, lambda: prior.encode(z))


class SecondNLL(_OfTheSecond):
    """``-log p(z | u)``, with z drawn by the first encoder and u by the second."""

    name = "second_nll"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        prior, z, code = self.second(model, out)
        return -prior.likelihood.log_prob(prior.decoder(code.z), z)


class SecondKL(_OfTheSecond):
    """KL divergence of the second posterior q(u | z) from N(0, I)."""

    name = "second_kl"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return kl_to_standard_normal(self.second(model, out)[2]).sum(1)


@recipe(
    "two-stage-vae",
    family="variational",
    paper="Dai, Wipf, Diagnosing and Enhancing VAE Models, ICLR 2019, arXiv:1903.05789",
    formula="1: L = -E_q[log N(x; f(z), gamma^2 I)] + KL(q(z|x) || N(0,I));  "
    "2: L = -E_q[log N(z; g(u), eta^2 I)] + KL(q(u|z) || N(0,I)),  z ~ q(z|x), the first frozen",
    claim="Where data lie on a manifold of few dimensions a VAE with a learnt variance finds the "
    "manifold but not the distribution on it; a second VAE on its codes finds that, and sampling "
    "through both gives better samples than sampling the first.",
    training={"epochs": 1200, "lr": 1e-4, "batch_size": 64, "lr_schedule": "two-halvings"},
)
def two_stage_vae(
    signal: Signal,
    *,
    latent_dim: SurplusDim = 64,
    second: Annotated[
        Literal["vae", "mixture"],
        Field(description="what is fitted to the codes: a VAE, or a mixture of Gaussians"),
    ] = "vae",
    second_hidden: SecondHidden = (1024, 1024, 1024),
    second_share: Annotated[
        Positive, Field(description="steps of the second stage for each step of the first")
    ] = 2.0,
    second_lr: Annotated[
        Positive | None, Field(description="learning rate of the second stage; none: the same")
    ] = None,
    components: Annotated[int, Field(gt=0, description="Gaussians of the mixture")] = 10,
    network: Network = "auto",
    hidden: Hidden = None,
    likelihood: LikelihoodName = "learned-gaussian",
    sigma: Sigma = 1.0,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """A VAE that finds the manifold of the data, and a second one that learns how they lie on it.

    The first stage is a VAE whose Gaussian likelihood learns its standard deviation gamma. On data
    that fill fewer dimensions than the space around them gamma falls towards zero at the optimum:
    reconstructions become exact whatever the distribution of the codes, so that the aggregated
    posterior need not be the prior, and decoding draws of N(0, I) gives poor samples. In the latent
    space, though, the codes have a density everywhere, and a VAE with as many latents as there are
    codes can match it. This is the second stage, a VAE on draws of z from the first encoder, which
    is frozen; its generative model is the prior of the first, ``u ~ N(0, I)``, ``z ~ N(g(u),
    eta^2 I)``, ``x = f(z)``, and what ``sample`` draws from. Its log-density is a bound by one draw
    of u. ``second="mixture"`` fits a mixture of Gaussians to the codes instead, after the only
    stage (ex-post density estimation, Ghosh et al. 2020, arXiv:1903.12436, 10 components).

    Published (text and code): 64 latents, batches of 64, Adam at 1e-4, 400 passes and then 800,
    the rate halved after each 150 and each 300 passes; gamma and eta start at 1; in the second
    stage three ReLU layers of 1024 each way, with their input beside their output. Here: the
    library's own networks for the signal where the paper has those of InfoGAN (convolutions with
    batch normalisation); standard deviations stay above 1e-3; ``epochs`` counts both stages, and
    fewer of them keep the shares and the places of the halvings.
    """
    observed = likelihood_for(signal, likelihood, sigma)
    encoder = encoder or encoder_for(signal, 2 * latent_dim, network, hidden=hidden)
    decoder = decoder or decoder_for(
        signal, latent_dim, network, hidden=hidden, numbers=observed.numbers
    )
    first = NegativeLogLikelihood() + KL()
    prior: Prior = GaussianMixturePrior(latent_dim, components)
    stages: list[Stage] = []
    if second == "vae":
        prior = SecondVAE(latent_dim, second_hidden)
        parts = {"encoder": encoder, "decoder": decoder, "likelihood": observed}
        trained = tuple(
            name for name, part in parts.items() if any(True for _ in part.parameters())
        )
        options = {} if second_lr is None else {"lr": second_lr, "lr_batch": None}
        stages = [
            Stage("first", first, trained),
            Stage("second", SecondNLL() + SecondKL(), ("prior",), second_share, options),
        ]
    return Autoencoder(
        signal,
        encoder=encoder,
        bottleneck=GaussianBottleneck(),
        decoder=decoder,
        objective=None if stages else first,
        likelihood=observed,
        prior=prior,
        stages=stages,
    )
