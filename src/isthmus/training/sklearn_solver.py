"""Fits a model by an estimator of scikit-learn, whose result becomes the model's weights."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, ReportProgress, Source
from isthmus.errors import IsthmusError
from isthmus.notices import say
from isthmus.training.model_rows import gathered

MakeEstimator = Callable[[int, tuple[int, int], ReportProgress], Any]
"""From a seed, the shape of the rows ``(n, d)`` and the progress bar to an unfitted estimator."""

Install = Callable[[Autoencoder, Any], dict[str, float]]
"""Writes a fitted estimator into a model's parts; gives figures for the log."""


class SklearnSolver:
    """Fits what ``estimator`` makes to rows in the model's units, and has ``install`` write it in.

    ``name`` is the recipe's. At most ``rows`` rows, drawn without repetition, are held in memory,
    in float64: that others are left out is said. ``least`` is the fewest rows there must be.
    ``non_negative`` refuses rows with negative elements. ``draws_nothing`` says that no result
    depends on the seed (of all rows). A rule of the estimator's that stops it before it has
    converged is said as well.
    """

    def __init__(
        self,
        name: str,
        estimator: MakeEstimator,
        install: Install,
        *,
        rows: int,
        least: int = 2,
        non_negative: bool = False,
        draws_nothing: bool = False,
    ) -> None:
        self.name, self.estimator, self.install = name, estimator, install
        self.rows, self.least, self.non_negative = rows, least, non_negative
        self.draws_nothing = draws_nothing

    def fit(self, model: Autoencoder, source: Source, report: ReportProgress) -> dict[str, float]:
        """Set the model's weights; the figures are ``install``'s and the number of rows read."""
        from sklearn.exceptions import ConvergenceWarning

        x = gathered(model, source, self.name, self.rows)
        if len(x) < self.least:
            raise IsthmusError(
                f"{self.name} needs {self.least} rows for what was asked of it, and has {len(x)}: "
                "lower latent_dim, or pass more rows"
            )
        self._check(model, x)
        seed = int(torch.randint(2**31 - 1, ()))
        estimator = self.estimator(seed, (len(x), x.shape[1]), report)
        with warnings.catch_warnings(record=True) as caught, _numpy_seeded(seed):
            warnings.simplefilter("always")
            estimator.fit(x)
        if any(issubclass(one.category, ConvergenceWarning) for one in caught):
            say(f"{self.name} had not converged when its iterations were over: raise them")
        with torch.no_grad():
            figures = self.install(model, estimator)
        report(1, 1, "done")
        return {**figures, "rows": float(len(x))}

    def _check(self, model: Autoencoder, x: np.ndarray) -> None:
        if self.non_negative and float(x.min()) < 0.0:
            raise IsthmusError(negative(self.name, float(x.min()), model.scaler.mode))


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator from a seed, and afterwards as it was.

    Solvers within an estimator draw from it, whatever ``random_state`` the estimator was given.
    """
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def negative(name: str, least: float, scaling: str = "none") -> str:
    """What to say of a negative element where there must be none."""
    how = "" if scaling == "none" else f" after scaling={scaling}, which scaling=none leaves out"
    return (
        f"{name} reads rows without negative elements, and the least is {least:.3g}{how}: subtract "
        "the minimum, or choose another recipe"
    )
