"""What an activation is replaced by to ask what it was worth: its mean, or another token's."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import IsthmusError
from isthmus.interpretation.splice import spliced

SAMPLE = 2**24
"""Elements of the sample that resample ablation draws from, 64 MiB; at most 16,384 activations."""


class _Seen(BaseException):
    """Ends a forward pass once the activation has been seen; no Exception, a model may catch it."""


def seen(module: nn.Module, point: str, run: Callable[[], object]) -> Tensor:
    """The activation at one point of the forward pass that ``run`` starts, which ends there."""
    activations: list[Tensor] = []

    def look(x: Tensor) -> Tensor:
        activations.append(x.detach())
        raise _Seen

    with spliced(module, {point: look}):
        try:
            run()
        except _Seen:
            return activations[0]
    raise IsthmusError(f"{point!r} does not run in the model's forward pass: name one that does")


class Ablations:
    """The mean of the touched activations, and a uniform sample of them, from one pass.

    Every random number belongs to an activation's place in the whole series, so that the size of
    the batches changes nothing.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.count = 0
        self.total: Tensor | None = None
        self._rows = torch.empty(0)
        self._keys, self._origins = np.empty(0), np.empty(0, np.int64)
        self._random = np.random.default_rng([seed, 0])

    def see(
        self, module: nn.Module, point: str, run: Callable[[], object], touched: Tensor | None
    ) -> None:
        """Take one batch into account."""
        x = seen(module, point, run)
        x = x.flatten(0, -2) if touched is None else x[touched.to(x.device)]
        x = x.float().cpu()
        added = x.double().sum(0)
        self.total = added if self.total is None else self.total + added
        keep = max(2, min(16_384, SAMPLE // x.shape[1]))
        keys = self._random.random(len(x))
        origins = np.arange(self.count, self.count + len(x))
        self.count += len(x)
        some = keys < (self._keys.max() if len(self._keys) == keep else np.inf)
        keys = np.concatenate((self._keys, keys[some]))
        origins = np.concatenate((self._origins, origins[some]))
        rows = torch.cat((self._rows.view(-1, x.shape[1]), x[torch.from_numpy(some)]))
        if len(keys) > keep:
            best = np.sort(np.argpartition(keys, keep)[:keep])
            keys, origins, rows = keys[best], origins[best], rows[torch.from_numpy(best)]
        self._keys, self._origins, self._rows = keys, origins, rows

    def begin(self) -> None:
        """Go back to the first batch, now to draw."""
        if self.count < 2:
            raise IsthmusError(
                f"{self.count} activations can be replaced: pass text with two ordinary tokens or "
                "more"
            )
        self._random, self.at = np.random.default_rng([self.seed, 1]), 0

    def mean_like(self, x: Tensor) -> Tensor:
        """The mean activation in the shape of ``x``."""
        assert self.total is not None
        return (self.total / self.count).to(x).expand_as(x)

    def draw(
        self, module: nn.Module, point: str, run: Callable[[], object], touched: Tensor | None
    ) -> Tensor:
        """Another token's activation for each of the next batch, in the activation's shape."""
        if touched is None:
            shape = seen(module, point, run).shape[:-1]
            touched = torch.ones(shape, dtype=torch.bool)
        count = int(touched.sum())
        picks = (self._random.random(count) * len(self._keys)).astype(np.int64)
        itself = self._origins[picks] == np.arange(self.at, self.at + count)
        picks[itself] = (picks[itself] + 1) % len(self._keys)
        self.at += count
        rows = self._rows.new_zeros((*touched.shape, self._rows.shape[1]))
        rows[touched.cpu()] = self._rows[torch.from_numpy(picks)]
        return rows
