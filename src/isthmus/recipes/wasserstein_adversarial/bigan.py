"""The bidirectional generative adversarial network."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Code, Output, Prior, Signal, Term, expect
from isthmus.bottlenecks import Identity, StandardNormal
from isthmus.networks import decoder_for, encoder_for
from isthmus.networks.layers import plain, sizes
from isthmus.recipes.options import (
    Hidden,
    LatentDim,
    Network,
    OwnModule,
    RangeName,
    likelihood_for,
)
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float

CRITIC = "critic"
HIDDEN = (1024, 1024)
LEAK = 0.2
_START = 0.02
"""Standard deviation of the initial weights, as in the authors' code (after DCGAN)."""


# --- the two players' losses -----------------------------------------------------------------


def pair_logits(model: Autoencoder, out: Output) -> tuple[Tensor, Tensor]:
    """The critic's logits ``(rows,)`` of the pairs ``(x, E(x))`` and ``(G(z), z)``.

    One z is drawn from the model's prior for every row. The critic sees G(z) as the likelihood's
    mean, in the same units as x.
    """
    prior = expect(model.prior, Prior, "prior", "a joint adversary")
    critic = model.critics[CRITIC]
    z = prior.sample(out.rows).to(out.x)
    fake = model.likelihood.mean(model.decode_code(Code(z)))
    return critic(out.x, out.code.z), critic(fake, z)


class JointAdversary(Term):
    """``-log D(x, E(x)) - log(1 - D(G(z), z))``: the critic tells the two kinds of pair apart.

    2 log 2 nats for a critic that cannot. Each row brings its own draw of z.
    """

    name = "joint_adversary"
    unit = "nats"
    rebuilds = False
    player = CRITIC

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        real, fake = pair_logits(model, out)
        return F.softplus(-real) + F.softplus(fake)


class SwappedAdversary(Term):
    """``-log(1 - D(x, E(x))) - log D(G(z), z)``: encoder and generator, with swapped labels.

    The non-saturating form (Donahue et al. 2016, section 3.4): the same fixed point as the
    minimax loss, and a gradient that does not vanish where the critic is sure.
    """

    name = "swapped_adversary"
    unit = "nats"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        real, fake = pair_logits(model, out)
        return F.softplus(real) + F.softplus(-fake)


# --- the prior and its support ---------------------------------------------------------------


class UniformPrior(Prior):
    """Independent U(-1, 1) over ``latent_dim`` dimensions."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def sample(self, n: int) -> Tensor:
        return 2.0 * torch.rand(n, self.latent_dim) - 1.0


class UnitBox(nn.Module):
    """``z = 2 sigmoid(h) - 1``: codes where the uniform prior has them."""

    def forward(self, h: Tensor, *, sample: bool = False) -> Code:
        return Code(torch.tanh(0.5 * h))


# --- networks --------------------------------------------------------------------------------


class Joined(nn.Module):
    """``act(batch_norm(W h + V z))``: a hidden layer that also reads the code, without biases."""

    def __init__(self, before: int, width: int, latent_dim: int, act: nn.Module) -> None:
        super().__init__()
        self.from_hidden = nn.Linear(before, width, bias=False)
        self.from_code = nn.Linear(latent_dim, width, bias=False)
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.act = act

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        return self.act(self.norm(self.from_hidden(h) + self.from_code(z)))


class BiganEncoder(nn.Sequential):
    """From ``(rows, *shape)`` to ``(rows, latent_dim)``; the first layer is not normalised."""

    def __init__(self, numel: int, latent_dim: int, hidden: Sequence[int]) -> None:
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(numel, hidden[0], bias=False)]
        layers.append(nn.LeakyReLU(LEAK))
        for before, width in pairwise(hidden):
            layers += [
                nn.Linear(before, width, bias=False),
                nn.BatchNorm1d(width, affine=False),
                nn.LeakyReLU(LEAK),
            ]
        super().__init__(*layers, nn.Linear(hidden[-1], latent_dim, bias=False))
        self.apply(_start)


class BiganGenerator(nn.Module):
    """From ``(rows, latent_dim)`` to ``(rows, *shape)``; every later hidden layer reads z too."""

    def __init__(self, shape: tuple[int, ...], latent_dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.shape = shape
        widths = tuple(reversed(hidden))
        self.first = nn.Sequential(
            nn.Linear(latent_dim, widths[0], bias=False),
            nn.BatchNorm1d(widths[0], affine=False),
            nn.ReLU(),
        )
        self.later = nn.ModuleList(
            Joined(before, width, latent_dim, nn.ReLU()) for before, width in pairwise(widths)
        )
        self.last = nn.Linear(widths[-1], torch.Size(shape).numel(), bias=False)
        self.apply(_start)

    def forward(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows *shape"]:
        h = self.first(z)
        for layer in self.later:
            h = layer(h, z)
        return self.last(h).unflatten(1, self.shape)


class JointCritic(nn.Module):
    """Logits ``(rows,)`` that a pair of an example and a code is ``(x, E(x))``.

    ``trunk`` is the first layer, which reads x alone, to ``hidden[0]`` features. The later ones
    read z too (the last width is repeated where ``hidden`` has one only). The output layer starts
    at zero, so that the first loss is 2 log 2.
    """

    def __init__(self, trunk: nn.Module, latent_dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = tuple(hidden) if len(hidden) > 1 else (hidden[0], hidden[0])
        self.trunk, self.act = trunk, nn.LeakyReLU(LEAK)
        self.later = nn.ModuleList(
            Joined(before, width, latent_dim, nn.LeakyReLU(LEAK))
            for before, width in pairwise(widths)
        )
        self.last = nn.Linear(widths[-1], 1, bias=False)
        self.later.apply(_start)
        nn.init.zeros_(self.last.weight)

    def forward(
        self, x: Float[Tensor, "rows *shape"], z: Float[Tensor, "rows latent"]
    ) -> Float[Tensor, " rows"]:
        h = self.act(self.trunk(x))
        for layer in self.later:
            h = layer(h, z)
        return self.last(h).squeeze(1)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=_START)


# --- the recipe ------------------------------------------------------------------------------


@recipe(
    "bigan",
    family="wasserstein-adversarial",
    catalogue=151,
    paper="Donahue, Krähenbühl, Darrell, Adversarial Feature Learning, ICLR 2017, arXiv:1605.09782",
    formula="min_{G,E} max_D E_x[log D(x, E(x))] + E_z[log(1 - D(G(z), z))],  z ~ U(-1, 1)^latent",
    claim="An encoder that learns only to make the pairs (x, E(x)) and (G(z), z) look alike "
    "inverts the generator without a reconstruction loss, with features that rival an "
    "autoencoder's.",
    training={
        "epochs": 400,
        "batch_size": 128,
        "lr": 2e-4,
        "optimiser_options": {"betas": (0.5, 0.999)},
        "weight_decay": 2.5e-5,
        "lr_schedule": "half-exponential",
    },
)
def bigan(
    signal: Signal,
    *,
    latent_dim: LatentDim = 50,
    prior: Annotated[
        Literal["uniform", "normal"],
        Field(description="law of z: uniform on (-1, 1), where E(x) then lies too, or N(0, 1)"),
    ] = "uniform",
    network: Network = "mlp",
    hidden: Hidden = None,
    likelihood: RangeName = "auto",
    encoder: OwnModule = None,
    decoder: OwnModule = None,
    critic: Annotated[
        nn.Module | None,
        Field(description="a module of your own from (x, z) to a logit per row"),
    ] = None,
) -> Autoencoder:
    """A critic of pairs makes the encoder the inverse of the generator.

    The critic sees either an example with its code or a code with the example made from it. Once
    it cannot tell which, the two joint laws are one, and deterministic E and G invert each other
    almost everywhere (theorem 2 of the paper), although no term compares x with G(E(x)).

    Published, for MNIST as vectors: 50 uniform latents; encoder, generator and critic with two
    hidden layers of 1024, batch normalisation without gain or offset except on the layer that
    reads x, leaky rectifiers of slope 0.2 (plain ones in the generator), no biases; the code is
    read by the second hidden layers of generator and critic; weights from N(0, 0.02²). Adam at
    2e-4 with beta1 = 0.5 for 200 epochs and then, over 200 more, exponentially down to a
    hundredth; L2 penalty 2.5e-5. What the paper leaves open is taken from its released code,
    which also halves both losses.

    Two departures: encoder and generator step first and the critic after them on fresh draws,
    where the authors step all at once; and the running statistics of batch normalisation are
    moving averages, where theirs are averages over 1000 batches after training. Batch
    normalisation needs batches of at least two rows.

    ``likelihood`` settles the range of G: Bernoulli ends in the paper's sigmoid, Gaussian (for
    data beyond [0, 1]) is linear. With another ``network`` than ``mlp``, which is the paper's,
    encoder, generator and the critic's first layer are the library's own. A module passed as
    ``encoder`` returns ``(rows, latent_dim)`` before the map to the prior's range.
    """
    widths = sizes("hidden", HIDDEN if hidden is None else hidden, least=1)
    flat = plain(signal)
    if network == "mlp":
        own_encoder: nn.Module = BiganEncoder(flat.numel, latent_dim, widths)
        own_decoder: nn.Module = BiganGenerator(flat.shape, latent_dim, widths)
        trunk: nn.Module = nn.Sequential(
            nn.Flatten(), nn.Linear(flat.numel, widths[0], bias=False)
        ).apply(_start)
    else:
        own_encoder = encoder_for(signal, latent_dim, network, hidden=hidden)
        own_decoder = decoder_for(signal, latent_dim, network, hidden=hidden)
        trunk = encoder_for(signal, widths[0], network, hidden=hidden)
    return Autoencoder(
        signal,
        encoder=encoder or own_encoder,
        bottleneck=UnitBox() if prior == "uniform" else Identity(),
        decoder=decoder or own_decoder,
        objective=0.5 * SwappedAdversary() + 0.5 * JointAdversary(),
        critics={CRITIC: critic or JointCritic(trunk, latent_dim, widths)},
        likelihood=likelihood_for(signal, likelihood, 1.0),
        prior=UniformPrior(latent_dim) if prior == "uniform" else StandardNormal(latent_dim),
    )
