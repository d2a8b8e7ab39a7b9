"""A Gaussian bottleneck that knows how many rows the run trains on."""

from math import ceil

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder
from isthmus.bottlenecks import GaussianBottleneck


class CountedGaussian(GaussianBottleneck):
    """A Gaussian bottleneck with the number of training rows in the buffer ``rows``.

    It is set before the first step and saved with the model, so that a resumed run knows it.
    """

    rows: Tensor

    def __init__(self, samples: int | None = None) -> None:
        super().__init__(samples)
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))

    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Note how many rows there are; ``x`` is a sample of them."""
        self.rows.fill_(training_rows(model, x))


def training_rows(model: Autoencoder, x: Tensor) -> int:
    """How many rows a run trains on, given the sample ``x`` with which it prepares the model.

    Data that fit into the sample are counted there; of larger data ``fit`` notes the size in the
    model's ``config``, from which the rows held out for validation are taken off.
    """
    about = model.config.get("data") or {}
    total = int(about.get("rows", 0))
    if not model.config.get("own_validation"):
        share = float(model.config.get("training", {}).get("validation", 0.0))
        total -= ceil(share * total)
    return max(total, len(x))
