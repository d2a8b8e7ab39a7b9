"""A named data set: arrays, labels, licence and source."""

from dataclasses import dataclass

import numpy as np

from isthmus.anatomy import Kind, Source
from isthmus.data.sources import ArraySource


@dataclass(frozen=True, eq=False)
class Data:
    """A data set by name.

    ``train`` and ``test`` are raw rows (``test`` is None where none is set apart); labels are one
    value per row, or one row of several (the factors of made data), and serve evaluation only.
    ``kind`` settles what the arrays' shape alone cannot.
    """

    name: str
    train: np.ndarray
    test: np.ndarray | None = None
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    licence: str = ""
    citation: str = ""
    description: str = ""
    kind: Kind | None = None

    def sources(self) -> tuple[Source, Source | None]:
        """The two parts as sources, the second None where there is no test part."""
        test = None if self.test is None else ArraySource(self.test, self.kind, name=self.name)
        return ArraySource(self.train, self.kind, name=self.name), test
