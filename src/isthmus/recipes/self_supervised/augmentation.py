"""The two views that joint embeddings compare, and the options that draw them."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Signal
from isthmus.corruptions import (
    Compose,
    GaussianNoise,
    MaskingNoise,
    RandomErasing,
    RandomResizedCrop,
    TwoViews,
)
from isthmus.recipes.options import NonNegative

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


def two_views(signal: Signal, crop: float, noise: float, erase: float) -> TwoViews:
    """Two views of each row, drawn alike.

    Images are cropped, noised and erased in part, which any image allows; everything else gets
    Gaussian noise and masked elements.
    """
    if signal.kind == "image":
        return TwoViews(
            Compose(
                RandomResizedCrop(scale=(crop, 1.0)), GaussianNoise(noise), RandomErasing(erase)
            )
        )
    return TwoViews(Compose(GaussianNoise(noise), MaskingNoise(erase)))
