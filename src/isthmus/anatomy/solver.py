"""Fits a model without the gradient trainer: in closed form, by EM, by alternation."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from isthmus.anatomy.source import Source

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder

ReportProgress = Callable[[int, int, str], None]
"""Called as ``report(done, total, what)`` while a solver works, for the progress bar."""


class Solver(Protocol):
    """``fit(model, source, report)`` sets the model's parameters and buffers from the data.

    Returns figures for the log.
    """

    def fit(
        self, model: "Autoencoder", source: Source, report: ReportProgress
    ) -> dict[str, float]: ...
