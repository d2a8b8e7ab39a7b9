"""A named data set: arrays, labels, licence and source."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isthmus.anatomy import Asked, Kind, Reading, Source
from isthmus.data.sources import ArraySource
from isthmus.tables import TableSource, as_table
from isthmus.tables.source import plain


@dataclass(frozen=True, eq=False)
class Data:
    """A data set by name.

    ``train`` and ``test`` are raw rows, as arrays or, of a table with text or gaps, as data frames
    of pandas (``test`` is None where none is set apart); labels are one value per row, or one row
    of several (the factors of made data), and serve evaluation only. ``kind`` settles what the
    arrays' shape alone cannot.
    """

    name: str
    train: Any
    test: Any = None
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    licence: str = ""
    citation: str = ""
    description: str = ""
    kind: Kind | None = None

    def sources(self) -> tuple[Source, Source | None]:
        """The two parts as sources, the second None where there is no test part."""
        return self.source(self.train), None if self.test is None else self.source(self.test)

    def source(self, rows: Any, kind: Asked = None) -> Source:
        """A source over a part of it, read as ``kind`` says, else as the set does."""
        how = Reading.of(kind).or_kind(self.kind)
        table = as_table(rows)
        if table is None:
            return ArraySource(rows, how, name=self.name)
        table = replace(table, where=repr(self.name))
        if how.kind in (None, "vector"):
            return TableSource(table)
        return ArraySource(plain(table), how, columns=table.names, name=self.name)
