"""How much of a codebook is in use."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import need_rows
from isthmus.evaluation.result import Result

LARGEST_TABLE = 2**24
"""Counts held per position at most; a larger table is pooled over positions."""


class CodebookCounts:
    """How often each entry is chosen at each position, streamed.

    ``size`` is the number of entries. With ``per_position`` every position has a codebook of its
    own and values are means over positions; else one codebook serves all, and values are over
    the pooled choices. ``per`` has one value for each position either way (None where positions
    times entries exceed ``LARGEST_TABLE`` and one codebook serves all).
    """

    def __init__(self, size: int, *, per_position: bool = False) -> None:
        self.size, self.per_position = size, per_position
        self._rows = 0
        self._shape: tuple[int, ...] = ()
        self._counts: Tensor | None = None

    def update(self, indices: Array) -> "CodebookCounts":
        """Take in integer choices ``(rows, *positions)``, each in [0, size)."""
        need_rows(indices, "indices")
        entries = torch.as_tensor(indices if isinstance(indices, Tensor) else np.array(indices))
        entries = entries.detach().reshape(len(entries), -1).to(torch.int64)
        low, high = int(entries.min()), int(entries.max())
        if low < 0 or high >= self.size:
            raise IsthmusError(
                f"index {low if low < 0 else high} is no entry of a codebook of {self.size}: pass "
                "the size that the indices were made with"
            )
        positions = entries.shape[1]
        split = self.per_position or positions * self.size <= LARGEST_TABLE
        tables = positions if split else 1
        if split:
            entries = entries + self.size * torch.arange(positions, device=entries.device)
        counts = torch.bincount(entries.flatten(), minlength=tables * self.size)
        counts = counts.reshape(tables, self.size).cpu()
        if self._counts is not None and indices.shape[1:] != self._shape:
            raise IsthmusError(
                f"indices of shape {tuple(indices.shape[1:])} follow indices of shape "
                f"{self._shape}: pass rows of one shape"
            )
        self._shape = tuple(indices.shape[1:])
        self._counts = counts if self._counts is None else self._counts + counts
        self._rows += len(indices)
        return self

    def use(self) -> Result:
        """Share of entries chosen at least once; see :func:`codebook_use`."""
        return self._result("codebook_use", lambda c: (c > 0).mean(-1), "used share", "fraction")

    def perplexity(self) -> Result:
        """Exponential of the entropy of the choices; see :func:`perplexity`."""
        return self._result("perplexity", _perplexity, "exp of the plug-in entropy", "entries")

    def _result(
        self, name: str, measure: Callable[[np.ndarray], np.ndarray], what: str, unit: str
    ) -> Result:
        if self._counts is None:
            raise IsthmusError("no indices have been seen: update with at least one row")
        counts = self._counts.numpy().astype(np.float64)
        split = self.per_position or len(counts) == int(np.prod(self._shape))
        per = measure(counts).reshape(self._shape) if split else None
        pooled = "mean over positions" if self.per_position else "choices pooled over positions"
        if self.per_position:
            value = float(measure(counts).mean())
        else:
            value = float(measure(counts.sum(0)))
        how = f"{what} of a codebook of {self.size} entries, {pooled}; no interval"
        return Result(name, value, True, None, self._rows, how, unit, per)


def codebook_use(indices: Array, size: int, *, per_position: bool = False) -> Result:
    """Share of codebook entries that are chosen at least once, in [0, 1].

    ``indices`` are integers ``(rows, *positions)``; ``per`` is the share for each position. See
    :class:`CodebookCounts` for ``per_position``. An index out of range is an
    :class:`IsthmusError`.
    """
    return CodebookCounts(size, per_position=per_position).update(indices).use()


def perplexity(indices: Array, size: int, *, per_position: bool = False) -> Result:
    """Effective number of entries in use: exp of the entropy (nats) of the choices.

    Between 1 (one entry) and ``size`` (all alike). The plug-in entropy of few rows is too low.
    Arguments, ``per`` and errors as for :func:`codebook_use`.
    """
    return CodebookCounts(size, per_position=per_position).update(indices).perplexity()


def _perplexity(counts: np.ndarray) -> np.ndarray:
    share = counts / counts.sum(-1, keepdims=True)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return np.exp(-(share * logs).sum(-1))
