"""A table as a source of rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Signal, Source
from isthmus.errors import IsthmusError
from isthmus.tables.numbers import Numbers
from isthmus.tables.one_hot import listed
from isthmus.tables.preparation import Preparation
from isthmus.tables.table import Table


class TableSource(Source):
    """The rows of a table: as they stand, or as a preparation makes them.

    Before anything was learnt of it, a table of numbers without gaps has its columns as float32
    rows; of another table :attr:`signal` and :meth:`rows` are an :class:`IsthmusError`, and
    :meth:`learnt` gives the source to fit to.
    """

    def __init__(self, table: Table, preparation: Preparation | None = None) -> None:
        self.table = table
        self.preparation = preparation
        self._features: Tensor | None = None
        self._signal: Signal | None = None

    def __len__(self) -> int:
        return self.table.rows

    @property
    def columns(self) -> Sequence[str]:  # type: ignore[override]
        """The names of the features."""
        return self.table.names if self.preparation is None else self.preparation.features

    @property
    def truths(self) -> Sequence[bool] | None:  # type: ignore[override]
        """Which of the features are 0 or 1 alone, once a preparation says so."""
        if self.preparation is None:
            return None
        return [truth for one in self.preparation.encoders for truth in one.truths]

    @property
    def fills(self) -> Mapping[int, int] | None:  # type: ignore[override]
        """The columns that were filled by those that say so, by their places."""
        if self.preparation is None:
            return None
        fills: dict[int, int] = {}
        place = 0
        for one in self.preparation.encoders:
            if isinstance(one, Numbers) and one.indicator:
                fills[place + 1] = place
            place += len(one.features)
        return fills

    @property
    def signal(self) -> Signal:  # type: ignore[override]
        """Vectors of the features, with their range."""
        if self._signal is None:
            rows = self.features()
            low, high = (float(value) for value in torch.aminmax(rows))
            self._signal = Signal("vector", (rows.shape[1],)).bounded(low, high)
        return self._signal

    def rows(self, index: Tensor) -> Tensor:
        """Float32 rows ``(len(index), features)``."""
        return self.features().index_select(0, index)

    def prepared(self, preparation: Preparation) -> "TableSource":
        """The same table as that preparation makes it."""
        source = TableSource(self.table, preparation)
        source.spec = self.spec
        return source

    def features(self) -> Tensor:
        """All rows, float32 ``(rows, features)``; made when first asked for, and kept."""
        if self._features is None:
            preparation = self.preparation
            values = plain(self.table) if preparation is None else preparation.apply(self.table)
            self._features = torch.from_numpy(values)
        return self._features


def plain(table: Table) -> np.ndarray:
    """The columns of a table of numbers as float32 ``(rows, columns)``; an error for others."""
    stray = next((c.stray for c in table.columns.values() if c.stray), "")
    if stray:
        raise IsthmusError(stray)
    texts = [name for name, column in table.columns.items() if not column.is_number]
    if texts:
        raise IsthmusError(
            f"{table.where} has columns that are not numeric ({listed(texts, 8)}): fit a model to "
            "it, which learns how to read them, or leave them out"
            + (f" with '{table.file}:-{','.join(texts)}'" if table.file and len(texts) < 9 else "")
        )
    rows = np.empty((table.rows, len(table.columns)), np.float32)
    for place, (name, column) in enumerate(table.columns.items()):
        with np.errstate(over="ignore"):
            rows[:, place] = column.values
        odd = np.flatnonzero(column.gaps() | ~np.isfinite(rows[:, place]))
        if len(odd):
            raise IsthmusError(
                f"the data of {table.where} contain NaN or infinity (first in row {odd[0]}, column "
                f"{name!r}): drop or fill these values first, fit a model to the table, which "
                "learns to fill them, or pass mask= (in Python) where none was observed"
            )
    return rows
