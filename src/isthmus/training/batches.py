"""Shuffled batches that can be asked for by step number."""

import torch
from torch import Tensor

from isthmus.anatomy import Batch, Source
from isthmus.errors import IsthmusError
from isthmus.training.seeding import mix


class Batches:
    """``batches[step]`` is the batch of that step: the same for the same seed, in any order.

    Each epoch is a fresh permutation of the rows, cut into whole batches; the remainder sits out
    that epoch. ``rows`` and ``index`` take any step, so a resumed run needs no replay. A source
    with an ``order`` of its own (see :class:`~isthmus.anatomy.Source`) is read in that, with the
    row numbers of a batch ascending.
    """

    def __init__(self, source: Source, batch_size: int, seed: int = 0) -> None:
        if len(source) < batch_size:
            raise IsthmusError(
                f"the data have {len(source)} rows, fewer than one batch of {batch_size}: "
                f"set batch_size to {len(source)} or less"
            )
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.steps_per_epoch = len(source) // batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        self._ascending = False

    def index(self, step: int) -> Tensor:
        """Row numbers ``(batch_size,)`` of the batch of that step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order, self._ascending = self._shuffled(mix(self.seed, 1, epoch))
            self._epoch = epoch
        rows = self._order[place * self.batch_size : (place + 1) * self.batch_size]
        return rows.sort().values if self._ascending else rows

    def __getitem__(self, step: int) -> Batch:
        return self.source.batch(self.index(step))

    def sample(self, rows: int) -> Batch:
        """A fixed random sample of at most ``rows`` rows, for setting a model up."""
        order, _ = self._shuffled(mix(self.seed, 2))
        return self.source.batch(order[:rows].sort().values)

    def _shuffled(self, seed: int) -> tuple[Tensor, bool]:
        """A permutation of the rows, and whether it is the source's own."""
        order = self.source.order(seed)
        if order is not None:
            return order, True
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(len(self.source), generator=generator), False
