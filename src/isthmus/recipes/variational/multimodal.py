"""Multimodal variational autoencoders: one code for several modalities, any of them missing.

The three differ in how the experts of the modalities make one posterior: by a product (``mvae``), a
mixture (``mmvae``), or a mixture of the products of all subsets (``mopoe``).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Each,
    Likelihood,
    Linear,
    Objective,
    Prior,
    Signal,
    Term,
    evaluating,
    tree,
)  # fmt: skip
from isthmus.anatomy.likelihood import filled, over
from isthmus.anatomy.randomness import drawing
from isthmus.bottlenecks import StandardNormal
from isthmus.bottlenecks.experts import (
    Family,
    LaplacePrior,
    MixtureOfExperts,
    MixtureOfProducts,
    ProductOfExperts,
)
from isthmus.errors import IsthmusError, unknown
from isthmus.likelihoods import Categorical
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import KL
from isthmus.objectives.multimodal import (
    Estimator,
    MixtureBound,
    MixtureKL,
    ModalityLikelihood,
    SubsetKL,
    SubsetLikelihood,
)
from isthmus.recipes.options import (
    Hidden,
    LatentDim,
    LikelihoodName,
    Meant,
    Network,
    NonNegative,
    OwnModule,
    Sigma,
    likelihood_for,
)
from isthmus.recipes.registry import recipe

EMBEDDING = 64
"""Most numbers by which a token is read."""

Weights = Annotated[
    Literal["equal", "size"] | dict[str, float],
    Field(
        description="weight of each modality's log-likelihood, by name; size: elements of the "
        "largest over its own"
    ),
]
Likelihoods = Annotated[
    LikelihoodName | dict[str, LikelihoodName],
    Field(
        description="observation model, of all modalities or by name; auto is bernoulli for images "
        "in [0, 1], categorical for tokens, else gaussian"
    ),
]
OwnEach = Annotated[
    OwnModule, Field(description="modules of your own as Each, one for each modality")
]


# --- networks that read what is observed -------------------------------------------------------


class ObservedOnly(nn.Module):
    """An encoder for which what is not observed is 0, the mean of scaled data, whatever is there.

    ``(rows, *shape)`` to what the network returns; NaN under the mask reaches nothing.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *, mask: Tensor | None) -> Tensor:
        parameters: Tensor = self.network(filled(x, mask, 0.0))
        return parameters


class TokenEncoder(nn.Module):
    """Tokens of a fixed length by an embedding of each and a network on them side by side.

    int64 ``(rows, steps)`` to ``(rows, out_dim)``; the embedding of a missing token is 0.
    """

    def __init__(self, signal: Signal, out_dim: int, hidden: Any) -> None:
        super().__init__()
        width = min(signal.vocabulary, EMBEDDING)
        self.embedding = nn.Embedding(signal.vocabulary, width)
        embedded = Signal("series", (*signal.shape, width))
        self.network = encoder_for(embedded, out_dim, "mlp", hidden=hidden)

    def forward(self, x: Tensor, *, mask: Tensor | None) -> Tensor:
        embedded = self.embedding(filled(x, mask, 0))
        if mask is not None:
            embedded = embedded * over(mask, x).unsqueeze(-1)
        parameters: Tensor = self.network(embedded)
        return parameters


# --- what the three recipes share --------------------------------------------------------------


def multimodal_autoencoder(
    signal: Signal,
    objective: Objective | Term,
    bottleneck: nn.Module,
    prior: Prior,
    *,
    latent_dim: int,
    network: str,
    hidden: Any,
    likelihood: str | Mapping[str, str],
    sigma: float,
    encoder: nn.Module | None,
    decoder: nn.Module | None,
) -> Autoencoder:
    """An expert, a decoder and a likelihood for each part of a collection."""
    parts = modalities(signal)
    if isinstance(likelihood, Mapping):
        _known(likelihood, parts, "likelihood")
    observed = {
        name: _likelihood(
            part, likelihood if isinstance(likelihood, str) else likelihood.get(name, "auto"), sigma
        )
        for name, part in parts.items()
    }

    def kind(part: Signal) -> str:
        return network if part.kind == "image" or network == "auto" else "mlp"

    def expert(part: Signal) -> nn.Module:
        if part.kind == "tokens":
            return TokenEncoder(part, 2 * latent_dim, hidden)
        return ObservedOnly(encoder_for(part, 2 * latent_dim, kind(part), hidden=hidden))

    def rebuilder(part: Signal, numbers: int) -> nn.Module:
        rows = Signal("vector", part.shape) if part.kind == "tokens" else part
        return decoder_for(rows, latent_dim, kind(part), hidden=hidden, numbers=numbers)

    if encoder is None:
        encoder = Each({name: expert(part) for name, part in parts.items()})
    if decoder is None:
        decoder = Each({n: rebuilder(part, observed[n].numbers) for n, part in parts.items()})
    for role, module in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(module, Each) or set(module.names) != set(parts):
            raise IsthmusError(
                f"the {role} of several modalities has a module for each: pass "
                f"Each of {', '.join(map(repr, parts))}"
            )
    return Autoencoder(
        signal,
        encoder=encoder,
        bottleneck=bottleneck,
        decoder=decoder,
        objective=objective,
        likelihood=Each(observed),  # type: ignore[arg-type]
        prior=prior,
    )


def modalities(signal: Signal) -> Mapping[str, Signal]:
    """The parts of a collection, each one rectangle; an error where they are none, or but one."""
    if len(signal.parts) < 2:
        raise IsthmusError(
            f"several modalities are wanted, and the data have one ({', '.join(signal.parts)}): "
            "pass a mapping of two names or more to arrays, or use vae"
        )
    for name, part in signal.parts.items():
        if part.ragged or part.kind in ("graph", "collection"):
            what = "rows of different lengths" if part.ragged else f"a {part.kind}"
            raise IsthmusError(
                f"the modality {name!r} is {what}: pass an array of rows of one shape"
            )
    return signal.parts


def weights_for(signal: Signal, weights: str | Mapping[str, float]) -> dict[str, float]:
    """The weight of each modality's log-likelihood, by name.

    ``"size"`` is the published rescaling: elements of the largest modality over its own, so that
    all count alike (Shi et al. 2019, section 4; Sutter et al. 2021).
    """
    parts = modalities(signal)
    if isinstance(weights, Mapping):
        _known(weights, parts, "weights")
        for name, weight in weights.items():
            if weight < 0.0:
                raise IsthmusError(
                    f"weights: for {name!r} the weight {weight:g} is less than 0: use 0 to leave "
                    "a modality out of the likelihood"
                )
        return {name: float(weights.get(name, 1.0)) for name in parts}
    largest = max(part.numel for part in parts.values())
    return {n: largest / part.numel if weights == "size" else 1.0 for n, part in parts.items()}


def _known(given: Mapping[str, Any], parts: Mapping[str, Signal], option: str) -> None:
    for name in given:
        if name not in parts:
            raise unknown(f"modality that {option} names,", name, parts)


def _likelihood(part: Signal, name: str, sigma: float) -> Likelihood:
    if part.kind != "tokens":
        return likelihood_for(part, name, sigma)  # type: ignore[arg-type]
    if name != "auto":
        raise IsthmusError(
            f"likelihood={name} does not describe tokens: leave those modalities at auto, which is "
            "categorical"
        )
    return Categorical(max(2, part.vocabulary))


def cross_generate(
    model: Autoencoder, X: Mapping[str, Any], *, samples: int | None = None, seed: int = 0,
    mask: Mapping[str, Any] | None = None, batch_size: int = 1024,
) -> dict[str, np.ndarray]:  # fmt: skip
    """All modalities from some of them, in the user's units: ``{name: (rows, *shape)}``.

    ``X`` has some of the model's modalities by name; ``mask``, as in
    :class:`~isthmus.anatomy.Batch`, says where rows lack one of these too. What is returned for
    the modalities that are there are their reconstructions. With ``samples``, the means of each
    modality under so many draws of the code, ``(samples, rows, *shape)``: how they spread is what
    ``X`` leaves open.
    """
    parts = modalities(model.signal)
    _known(X, parts, "X")
    if not X:
        raise IsthmusError("nothing is observed: pass one modality or more, or use model.sample")
    rows = tree.count({name: np.asarray(part) for name, part in X.items()})
    whole, seen = {}, {}
    for name, part in parts.items():
        kind = np.int64 if part.kind == "tokens" else np.float32
        whole[name] = X.get(name, np.zeros((rows, *part.shape), kind))
        seen[name] = np.full(rows, name in X)
        if mask is not None and name in X and mask.get(name) is not None:
            seen[name] = np.asarray(mask[name])
    reconstructions = []
    with evaluating(model), drawing(model.device, seed):
        for batch in model.batches(whole, batch_size, mask=seen):
            if samples is None:
                recon = model.rebuilt(batch)
            else:
                code = model.clean_code(batch).draw(samples)  # type: ignore[attr-defined]
                recon = model.unscaled(model.likelihood.mean(model.decode_code(code)))
            reconstructions.append(tree.moved(recon, torch.device("cpu")))
    axis = 0 if samples is None else 1
    return {
        name: torch.cat([part[name] for part in reconstructions], axis).numpy() for name in parts
    }


# --- the recipes -------------------------------------------------------------------------------


@recipe(
    "mvae",
    family="variational",
    paper="Wu, Goodman, Multimodal Generative Models for Scalable Weakly-Supervised Learning, "
    "2018, arXiv:1802.05335",
    formula="L = sum_S [ -E_q(z|x_S)[sum_{m in S} w_m log p(x_m|z)] + beta KL(q(z|x_S) || N(0,I)) ]"
    ",  q(z|x_S) ~ N(0,I) prod_{m in S} q(z|x_m),  S: all, each one, k at random",
    claim="A product of experts infers one code from whichever modalities are there, and learns "
    "from few complete rows.",
    training={"epochs": 500, "lr": 1e-3, "batch_size": 100},
    kinds=("collection",),
)
def mvae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 64,
    unimodal: Annotated[
        bool, Field(description="whether each modality has a bound of its own in the loss")
    ] = True,
    subsets: Annotated[
        int, Field(ge=0, description="random subsets of three modalities or more, each step")
    ] = 1,
    weights: Weights = "equal",
    beta: Annotated[NonNegative, Field(description="final weight of the KL divergence")] = 1.0,
    kl_steps: Annotated[
        int,
        Field(ge=0, description="steps over which beta rises from 0 (at most 0.4 of the run)"),
        Meant("ramp"),
    ] = 120_000,
    network: Network = "auto",
    hidden: Hidden = None,
    likelihood: Likelihoods = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnEach = None,
    decoder: OwnEach = None,
) -> Autoencoder:
    """One Gaussian posterior for all modalities: the product of their experts and of the prior.

    The data are a collection such as ``{"image": A, "text": B}``, with ``mask={"text": seen}``
    where rows lack one. Precisions add up, so that a modality which is missing is simply left out,
    and one that knows little counts little. The bound of all modalities alone would leave the
    experts untrained by themselves; so the loss also has the bound of each one, and of some random
    subsets. ``isthmus.recipes.variational.multimodal.cross_generate(model, {"image": A})`` gives
    all modalities from some. Rows that lack a modality have the bounds of what they have: a row of
    one modality counts that one twice.

    Published: 64 latents, batches of 100, Adam at 1e-3 for 500 epochs, the KL's weight from 0 to 1
    over the first 200, two layers of 512 swish units, and on MNIST the label's log-likelihood ten
    times (``weights={"image": 1, "text": 10}``). Here: equal weights, and the library's own
    networks for each part.
    """
    scale = weights_for(signal, weights)
    weight = Linear(0.0, beta, kl_steps, fit=0.4) if kl_steps else beta
    objective = ModalityLikelihood(scale) + KL() * weight
    if unimodal or (subsets and len(signal.parts) > 2):
        objective = objective + SubsetLikelihood(scale) + SubsetKL() * weight
    return multimodal_autoencoder(
        signal, objective, ProductOfExperts(unimodal=unimodal, subsets=subsets),
        StandardNormal(latent_dim), latent_dim=latent_dim, network=network, hidden=hidden,
        likelihood=likelihood, sigma=sigma, encoder=encoder, decoder=decoder,
    )  # fmt: skip


@recipe(
    "mmvae",
    family="variational",
    catalogue=119,
    paper="Shi, Siddharth, Paige, Torr, Variational Mixture-of-Experts Autoencoders for "
    "Multi-Modal Deep Generative Models, 2019, arXiv:1911.03393; Wolff, Klein, Nabi, Krishnan, "
    "Nakajima, Mixture-of-experts VAEs can disregard variation in surjective multimodal data, "
    "2022, arXiv:2204.05229",
    formula="L = -(1/M) sum_m E_{z_1..z_K ~ q(z|x_m)}[log (1/K) sum_k p(z_k) prod_n p(x_n|z_k)^w_n "
    "/ q(z_k|x)],  q(z|x) = (1/M) sum_m q(z|x_m)",
    claim="With one-to-many modalities a mixture of experts generates little more than the mean of "
    "what a label leaves open; a product of experts keeps the variation.",
    training={
        "epochs": 30, "lr": 1e-3, "batch_size": 128, "optimiser_options": {"amsgrad": True},
    },
    kinds=("collection",),
)  # fmt: skip
def mmvae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 20,
    samples: Annotated[int, Field(gt=0, description="draws K of each expert's code")] = 30,
    bound: Annotated[
        Estimator,
        Field(
            description="iwae: the log of the average weight of an expert's draws; dreg: the same "
            "by its doubly reparameterised gradient; elbo: the average log weight"
        ),
    ] = "dreg",
    posterior: Annotated[
        Family, Field(description="laplace with scales of mean 1 (the authors'), or normal")
    ] = "laplace",
    learn_prior: Annotated[
        bool, Field(description="learn the scales of a laplace prior; a normal one is N(0, I)")
    ] = True,
    weights: Weights = "size",
    network: Network = "auto",
    hidden: Hidden = None,
    likelihood: Likelihoods = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnEach = None,
    decoder: OwnEach = None,
) -> Autoencoder:
    """One posterior for all modalities: the mixture, in equal parts, of their experts.

    Codes drawn from every expert have to explain every modality, so that each expert learns to
    generate the others. That is also its limit: a label cannot tell which of its images is meant,
    and the best it can do under a Gaussian decoder is their mean (Wolff et al. 2022);
    ``cross_generate(..., samples=...)`` shows how much variation is left. A missing modality is
    left out of the mixture and of the likelihood.

    The deterministic code is the mixture's mean. Published: 20 latents, 30 draws, DReG with the
    mean over the modalities outside the logarithm, Laplace posteriors and likelihoods (of scale
    0.75), learnt scales of the prior, batches of 128, Adam with amsgrad at 1e-3, 30 epochs, the
    smaller modality's likelihood rescaled to the size of the larger. Here: the likelihoods that
    ``auto`` chooses, and the library's own networks for each part. ``posterior=normal
    learn_prior=false samples=1 bound=elbo`` is the stratified ELBO of the analysis.
    """
    prior = (
        LaplacePrior(latent_dim, learnt=learn_prior)
        if posterior == "laplace"
        else StandardNormal(latent_dim)
    )
    return multimodal_autoencoder(
        signal, MixtureBound(bound, weights_for(signal, weights)),
        MixtureOfExperts(samples, posterior), prior, latent_dim=latent_dim, network=network,
        hidden=hidden, likelihood=likelihood, sigma=sigma, encoder=encoder, decoder=decoder,
    )  # fmt: skip


@recipe(
    "mopoe",
    family="variational",
    paper="Sutter, Daunhawer, Vogt, Generalized Multimodal ELBO, 2021, arXiv:2105.02470",
    formula="L = -E_q(z|x)[sum_m w_m log p(x_m|z)] + beta (1/C) sum_S KL(q_S || N(0,I)),  "
    "q(z|x) = (1/C) sum_S q_S,  q_S ~ prod_{m in S} q(z|x_m),  S: all C = 2^M - 1 subsets",
    claim="A mixture of the products of all subsets has the product's fit of the joint "
    "distribution and the mixture's coherent generation.",
    training={"epochs": 200, "lr": 1e-3, "batch_size": 256},
    kinds=("collection",),
)
def mopoe(
    signal: Signal,
    *,
    latent_dim: LatentDim = 20,
    beta: Annotated[NonNegative, Field(description="weight of the KL divergence")] = 2.5,
    weights: Weights = "size",
    network: Network = "auto",
    hidden: Hidden = None,
    likelihood: Likelihoods = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnEach = None,
    decoder: OwnEach = None,
) -> Autoencoder:
    """One posterior for all modalities: the mixture of the products of every subset of experts.

    It contains both others: the components of single modalities are those of ``mmvae``, that of
    all modalities is the product of ``mvae``. A row that lacks some has the components of what it
    has. A code is drawn from one component, chosen at random for each row; the KL divergences of
    all components are averaged, which is no less than that of the mixture.

    Published: 20 latents, beta 2.5, batches of 256, Adam at 1e-3 for 200 epochs, likelihoods
    rescaled to the size of the largest modality (MNIST, SVHN and text); the authors' code takes an
    equal share of the batch for each component, where here each row draws its own.
    """
    objective = ModalityLikelihood(weights_for(signal, weights)) + MixtureKL() * beta
    return multimodal_autoencoder(
        signal, objective, MixtureOfProducts(len(signal.parts)), StandardNormal(latent_dim),
        latent_dim=latent_dim, network=network, hidden=hidden, likelihood=likelihood,
        sigma=sigma, encoder=encoder, decoder=decoder,
    )  # fmt: skip
