"""The images behind activations of a vision model, and the part of them that each stands for."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from isthmus.activations.feed_factory import RowFeed
from isthmus.activations.store import StoreSource
from isthmus.anatomy import Source
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.pages.drawn_rows import POOL, Inputs, first_rows

LEADING = 8
"""Class and register tokens that may come before those of the patches."""


@dataclass
class Behind:
    """The first images of the data, and where in them the activations stand.

    ``rows`` are the images ``(images, *shape)``; ``image`` and ``place`` int64
    ``(activations,)`` the number of an activation's image and its place among the tokens of that
    image, of which there are ``places``.
    """

    inputs: Inputs
    rows: np.ndarray
    image: np.ndarray
    place: np.ndarray
    places: int

    def setting(self) -> dict[str, Any]:
        """What the page's scripts have to know to mark a patch."""
        leading, side = patches(self.places)
        return {**self.inputs.setting(), "leading": leading, "side": side}


def patches(places: int) -> tuple[int, int]:
    """How many tokens stand before those of a square of patches, and the square's side.

    The side is 0 where no such square is found: the token then stands for the whole image.
    """
    for leading in range(min(LEADING, places - 1)):
        side = math.isqrt(places - leading)
        if side > 1 and side * side == places - leading:
            return leading, side
    return 0, 0


def behind(source: Source, activations: int) -> Behind | None:
    """The images that the first ``activations`` rows of a source were computed from.

    None where the rows are no activations, or those of a text, or where the data that the harvest
    names are no longer there, have changed since, or are no images.
    """
    index = torch.arange(activations)
    inner, index = source.base(index)
    origin = inner.origin
    if origin is None or origin.tokens is not None or not origin.text:
        return None
    try:
        images = as_source(origin.text)
    except IsthmusError:
        return None
    if images.signal.kind != "image" or _recorded(inner) != [_Rows(images).fingerprint()]:
        return None
    where = inner.where(index)
    assert where is not None
    sample = first_rows(images, 64)
    low, high = images.signal.low, images.signal.high
    inputs = Inputs(
        images.signal,
        float(sample.min()) if low is None else low,
        float(sample.max()) if high is None else high,
    )
    rows = first_rows(images, max(64, POOL // inputs.bytes))
    return Behind(
        inputs,
        rows,
        where["row"].numpy(),
        where["place"].numpy(),
        int(where["place"].max()) + 1,
    )


class _Rows(RowFeed):
    """The fingerprint of rows as a harvest takes it, without the model that reads them."""

    def __init__(self, source: Source) -> None:
        self.source = source


def _recorded(activations: Any) -> list[str]:
    """The fingerprints of the rows that activations were computed from."""
    if isinstance(activations, StoreSource):
        return [run.fingerprint for run in activations.store.provenance.runs]
    return [activations.feed.fingerprint()]
