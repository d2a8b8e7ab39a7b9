"""The text VAE: a sentence as one point of a continuous space."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Clock, Objective, Schedule, Signal
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.bottlenecks.identity import Identity
from isthmus.errors import IsthmusError
from isthmus.likelihoods import Categorical
from isthmus.networks import Ended, TokenDecoder, TokenEncoder
from isthmus.objectives import KL, NegativeLogLikelihood
from isthmus.recipes.options import LatentDim, Meant, NonNegative
from isthmus.recipes.registry import recipe

Share = Annotated[float, Field(ge=0, le=1)]
STEEPNESS = 12.5
FIT = 0.8


@dataclass(frozen=True)
class SigmoidRise(Schedule):
    """From nearly 0 to nearly ``end`` by a sigmoid over ``steps`` steps, half-way at their middle.

    Its ends are 0.2 % off; a run shorter than that compresses it to 0.8 of its length.
    """

    end: float
    steps: int

    def __call__(self, clock: Clock) -> float:
        steps = min(self.steps, max(1, int(FIT * clock.total)))
        return self.end / (
            1.0 + math.exp(-STEEPNESS * min(1.0, clock.step / steps) + STEEPNESS / 2)
        )


@recipe(
    "text-vae",
    family="sequence",
    paper="Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio, Generating Sentences from a "
    "Continuous Space, 2016, arXiv:1511.06349; without a prior: Dai, Le, Semi-supervised Sequence "
    "Learning, 2015, arXiv:1511.01432",
    formula="L = -E_q[sum_t log p(x_t | x_<t, z)] + w KL(q(z|x) || N(0,I)),  w: 0 -> beta; in "
    "training each x_<t is unknown with probability word_dropout",
    claim="One vector holds a whole sentence, so that points between two sentences are sentences "
    "too; without annealing and word dropout the decoder learns to do without the vector.",
    training={"epochs": 20, "lr": 1e-3, "batch_size": 32, "clip": 1.0},
    kinds=("tokens",),
)
def text_vae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 32,
    beta: Annotated[
        NonNegative, Field(description="final weight of the KL; 0 for a plain autoencoder")
    ] = 1.0,
    anneal_steps: Annotated[
        int,
        Field(gt=0, description="steps over which the weight rises (at most 0.8 of the run)"),
        Meant("ramp"),
    ] = 5000,
    word_dropout: Annotated[
        Share, Field(description="share of the decoder's inputs that are unknown while it trains")
    ] = 0.25,
    variational: Annotated[
        bool, Field(description="draw codes from a posterior; false for a plain autoencoder")
    ] = True,
    embedding: Annotated[int, Field(gt=0, description="numbers that a token becomes")] = 64,
    width: Annotated[int, Field(gt=0, description="units of an LSTM layer")] = 256,
    depth: Annotated[int, Field(gt=0, description="layers of each LSTM")] = 1,
    temperature: Annotated[
        NonNegative,
        Field(description="of what is generated; 0 takes the most probable token each time"),
    ] = 0.0,
) -> Autoencoder:
    """A sentence is read into one vector, and written again from it, token by token.

    An LSTM reads the tokens; its last state gives a Gaussian over latents. A second LSTM, started
    by a draw of them, tells each next token from those before it, and at last that the row ends.
    Since it could do well from the tokens before alone, the price of the latents rises slowly from
    nothing, and some of its inputs are hidden. ``variational=false`` (or ``beta=0``) draws nothing
    and has no price: the sequence autoencoder of Dai, Le.

    The data are texts (their bytes are the tokens), rows of whole numbers of different lengths, or
    ``isthmus.data.as_source(X, kind="tokens")``. ``reconstruct``, ``decode`` and ``sample``
    generate, and give texts where texts came in; ``score`` is the log-probability per token, the
    end of the row among them, in nats, with the true tokens before each.

    Published: words of a fixed vocabulary, one layer each, the weight raised by a sigmoid to 1,
    inputs hidden at several rates, all sizes found by random search. Here: bytes, sizes that suit
    short lines of text, Adam at 1e-3 with clipped gradients. Dai, Le hand over the whole last state
    and share the weights of both LSTMs; here the code is ``latent_dim`` numbers.
    """
    tokens, drawn = signal.vocabulary, variational and beta > 0.0
    if len(signal.shape) != 1:
        raise IsthmusError(
            f"text-vae reads each row as one sequence of tokens, and these rows have the shape "
            f"{signal.shape}: reshape the data to (rows, steps)"
        )
    decoder = TokenDecoder(
        tokens,
        latent_dim,
        signal.shape[0],
        ends=signal.ragged,
        embedding=embedding,
        hidden=width,
        layers=depth,
        word_dropout=word_dropout,
        temperature=temperature,
    )
    objective: Objective = 1.0 * NegativeLogLikelihood()
    if drawn:
        objective = objective + KL() * SigmoidRise(beta, anneal_steps)
    return Autoencoder(
        signal,
        encoder=TokenEncoder(tokens, (1 + drawn) * latent_dim, embedding, width, depth),
        bottleneck=GaussianBottleneck() if drawn else Identity(),
        decoder=decoder,
        objective=objective,
        target=Ended(tokens) if signal.ragged else None,
        likelihood=Categorical(decoder.classes),
        prior=StandardNormal(latent_dim) if drawn else None,
    )
