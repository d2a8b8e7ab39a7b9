"""What the trainer asks of data: rows by index. Readers in ``isthmus.data`` provide it."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from isthmus.anatomy.signal import Signal


@runtime_checkable
class Source(Protocol):
    """Rows that can be read in any order.

    ``rows(index)`` takes an int64 tensor of row numbers and returns float32 rows
    ``(len(index), *signal.shape)``; the same index always gives the same values, which is what
    makes shuffling seekable and resume exact.

    A source may have two methods more, found by name. ``order(seed) -> Tensor | None`` is a
    permutation of its row numbers, int64 ``(len(self),)``, in which an epoch reads it fastest: one
    that stays in one region for a while. Without it, or for None, the rows are shuffled freely.
    ``fingerprint() -> str`` tells its content from other content without reading rows.
    """

    signal: Signal

    def __len__(self) -> int: ...

    def rows(self, index: Tensor) -> Tensor: ...


def preferred_order(source: Source, seed: int) -> Tensor | None:
    """The order in which the source would be read in an epoch, where it has one."""
    order = getattr(source, "order", None)
    return None if order is None else order(seed)
