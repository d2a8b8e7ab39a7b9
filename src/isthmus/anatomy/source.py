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
    """

    signal: Signal

    def __len__(self) -> int: ...

    def rows(self, index: Tensor) -> Tensor: ...
