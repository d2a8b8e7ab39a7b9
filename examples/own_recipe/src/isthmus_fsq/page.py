"""The recipe: what the entry point of pyproject.toml names."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Signal
from isthmus.errors import IsthmusError
from isthmus.networks import decoder_for, encoder_for
from isthmus.recipes import recipe
from isthmus.recipes.options import Hidden
from isthmus_fsq.bottleneck import FiniteScalar
from isthmus_fsq.term import Huber


@recipe(
    "fsq",
    family="quantised",
    paper="Mentzer, Minnen, Agustsson, Tschannen 2023, Finite Scalar Quantization",
    formula="z = round(f(h)) / (L // 2), f(h) = tanh(h + shift) (L - 1) / 2",
    training={"steps": 2000, "batch_size": 256, "lr": 1e-3},
)
def fsq(
    signal: Signal,
    *,
    levels: Annotated[tuple[int, ...], Field(description="values of each latent")] = (8, 5, 5, 5),
    hidden: Hidden = (256, 128),
    delta: Annotated[float, Field(gt=0, description="error from which the loss is linear")] = 1.0,
) -> Autoencoder:
    """Round each of a few latents to a few levels, so that the code is discrete without a book.

    The product of the levels is the size of the code book that one would have learnt: 1000 by
    default, and every entry is used.
    """
    if min(levels) < 2:
        raise IsthmusError(f"levels={levels} has fewer than 2 of one latent: choose larger ones")
    return Autoencoder(
        signal,
        encoder=encoder_for(signal, len(levels), "mlp", hidden=hidden),
        bottleneck=FiniteScalar(levels),
        decoder=decoder_for(signal, len(levels), "mlp", hidden=hidden),
        objective=Huber(delta) * 1.0,
    )
