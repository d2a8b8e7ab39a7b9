"""What the trainer asks of data: rows by index. Readers in ``isthmus.data`` provide it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from isthmus.anatomy.batch import Batch
from isthmus.anatomy.signal import Signal
from isthmus.anatomy.tree import Tree


class Source:
    """Rows that can be read in any order. Subclass it; ``signal``, ``__len__`` and ``rows`` are
    all that is needed.

    ``rows(index)`` takes an int64 tensor of row numbers and returns ``(len(index),
    *signal.shape)``, or a tree of these for a collection; the same index always gives the same
    values, which is what makes shuffling seekable and resume exact. A source with masks, or with
    something given for each row (labels, conditions), says so in :meth:`batch`.
    """

    signal: Signal
    spec: str | None = None
    """The name by which the source can be opened again, where it has one."""
    origin: Any = None
    """What the rows stand for, where they were recorded from something (tokens, images)."""
    columns: Sequence[str] | None = None
    """The names of an example's elements, where they have any."""
    truths: Sequence[bool] | None = None
    """Which of an example's elements say yes or no, as 1 or 0, where that is known."""
    fills: Mapping[int, int] | None = None
    """By the place of an element that says 1 where another was missing and was filled, the other's
    place; where that is known."""
    names: Sequence[str] | None = None
    """The names of the rows, where they have any: those of files below a folder, say."""
    by_thread: bool = False
    """Whether a thread may read rows while another computes, without either noticing."""

    def __len__(self) -> int:
        raise NotImplementedError

    def rows(self, index: Tensor) -> Tree:
        """The examples of these rows."""
        raise NotImplementedError

    def batch(self, index: Tensor) -> Batch:
        """These rows with their masks and what is given with them."""
        return Batch(self.rows(index), index)

    def stored(self, index: Tensor) -> Tree | None:
        """These rows in half precision, where they are stored so, without masks or anything given:
        widened to float32 they are :meth:`rows`. None: as these."""
        return None

    def order(self, seed: int) -> Tensor | None:
        """A permutation of the row numbers, int64 ``(len(self),)``, in which an epoch reads this
        source fastest: one that stays in one region for a while. None: shuffle freely."""
        return None

    def fingerprint(self) -> str | None:
        """What tells its content from other content without reading rows, where it knows."""
        return None

    def where(self, index: Tensor) -> dict[str, Tensor] | None:
        """Where each row stands in what it was recorded from, where that is known."""
        return None

    def base(self, index: Tensor) -> "tuple[Source, Tensor]":
        """The source that the rows come from in the end, and their numbers there."""
        return self, index

    def numbers(self, index: Tensor) -> Tensor:
        """Row numbers as the user knows them: a part of the data numbers its rows anew."""
        return index

    @property
    def given_names(self) -> tuple[str, ...]:
        """Names of what is given with each row."""
        return ()
