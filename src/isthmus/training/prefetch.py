"""Batches of coming steps, read by a thread while the present step is computed."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from isthmus.anatomy import Batch, Source, tree
from isthmus.training.batches import Batches

AHEAD = 2
"""Batches that are read before they are asked for."""


class Prefetch:
    """``prefetch[step]`` is ``source.batch(batches.index(step))``, on the device.

    Which rows a step has depends on the step alone, so that reading ahead changes no run. Rows
    travel in the type in which they are stored (:meth:`~isthmus.anatomy.Source.stored`), from
    page-locked memory where the device is CUDA, and are widened where they arrive, which is exact.
    """

    def __init__(self, batches: Batches, device: torch.device, total: int) -> None:
        self.batches, self.device, self.total = batches, device, total
        self._thread = ThreadPoolExecutor(1, "isthmus-prefetch")
        self._coming: dict[int, Future[Batch]] = {}

    def __getitem__(self, step: int) -> Batch:
        for other in [s for s in self._coming if not step <= s <= step + AHEAD]:
            self._coming.pop(other).cancel()  # the run went elsewhere: to another stage
        for coming in range(step, min(step + AHEAD + 1, self.total)):
            if coming not in self._coming:
                index = self.batches.index(coming)
                self._coming[coming] = self._thread.submit(self._read, index)
        batch = self._coming.pop(step).result()
        return widened(sent(batch, self.device))

    @torch.no_grad()
    def _read(self, index: Tensor) -> Batch:
        batch = narrow(self.batches.source, index)
        return pinned(batch) if self.device.type == "cuda" else batch

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(cancel_futures=True)


@contextmanager
def reading(
    batches: Batches, device: torch.device, total: int, ahead: bool | None
) -> Iterator["Prefetch | Batches"]:
    """The batches of a run, read ahead where that pays: on CUDA, of sources that a thread may read.

    ``ahead`` says so, None leaves it to these.
    """
    if ahead is None:
        ahead = device.type == "cuda" and batches.source.by_thread
    if not ahead:
        yield batches
        return
    prefetch = Prefetch(batches, device, total)
    try:
        yield prefetch
    finally:
        prefetch.close()


def narrow(source: Source, index: Tensor) -> Batch:
    """These rows, in the type in which they are stored where the source knows it."""
    rows = source.stored(index)
    return source.batch(index) if rows is None else Batch(rows, index)


def pinned(batch: Batch) -> Batch:
    """The same in page-locked memory."""
    mask = None if batch.mask is None else tree.mapped(Tensor.pin_memory, batch.mask)
    given = {name: value.pin_memory() for name, value in batch.given.items()}
    return Batch(tree.mapped(Tensor.pin_memory, batch.x), batch.rows, mask, given)


def sent(batch: Batch, device: torch.device) -> Batch:
    """The same on the device; nothing waits for what is page-locked."""

    def move(leaf: Tensor) -> Tensor:
        return leaf.to(device, non_blocking=True)

    mask = None if batch.mask is None else tree.mapped(move, batch.mask)
    given = {name: move(value) for name, value in batch.given.items()}
    return Batch(tree.mapped(move, batch.x), batch.rows, mask, given)


def widened(batch: Batch) -> Batch:
    """The same with rows in half precision as float32."""

    def widen(leaf: Tensor) -> Tensor:
        return leaf.float() if leaf.dtype in (torch.float16, torch.bfloat16) else leaf

    return Batch(tree.mapped(widen, batch.x), batch.rows, batch.mask, batch.given)
