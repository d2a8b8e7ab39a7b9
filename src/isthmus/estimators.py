"""The scikit-learn face: any recipe as a transformer, or as an outlier detector."""

import copy
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OutlierMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from isthmus.anatomy import Autoencoder
from isthmus.anatomy.layout import named_rows
from isthmus.anatomy.scoring import Kind
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.arrays import classes
from isthmus.recipes import RecipeLike, as_recipe
from isthmus.recipes.registry import REAL
from isthmus.runs.fitting import fit
from isthmus.tables import Table, TableSource, as_table
from isthmus.tables.frames import is_framed


class AutoencoderTransformer(TransformerMixin, BaseEstimator):
    """A recipe as a scikit-learn transformer, usable in pipelines and searches.

    ``score_samples`` follows scikit-learn's sign: **higher is more normal**; it is the model's
    ``score``, the bound on the log-likelihood where there is one, else minus the squared error.
    :class:`AutoencoderDetector` has thresholds, too.

    ``X`` is a matrix, or a frame of pandas or polars, whose columns are read by name whatever their
    order: text, times and gaps as :func:`isthmus.fit` prepares them. ``inverse_transform`` then
    gives a frame where the columns are more than numbers.

    Parameters
    ----------
    recipe : str, callable, Recipe or Autoencoder
        Name of a recipe (``isthmus.list_recipes()`` has them), ``"package.module:function"``, a
        function that builds an autoencoder, or an untrained autoencoder, of which each fit trains
        a copy.
    latent_dim, k, steps, epochs, batch_size, lr, device, precision
        As everywhere; None follows the data, or with ``options={"length": "published"}`` the
        recipe's page.
    seed : int
        Seed of everything random.
    parts : dict or None
        For recipes that read a collection: the columns of each part by name, as numbers or (for a
        data frame) names, ``{"left": [0, 1], "right": [2]}``.
    label : str or None
        The name under which ``y`` is given to the model while it is fitted (a label or a
        condition); None ignores ``y``.
    options : dict or None
        Any further options of the recipe or of training: ``{"hidden": (64,), "clip": 1.0}``.
    warm_start : bool
        Whether a second ``fit`` goes on with the weights of the first
        (:mod:`isthmus.runs.warm_start`).

    Attributes
    ----------
    model_ : Autoencoder
        The fitted model.
    n_features_in_ : int
        Number of features of the data fitted to.
    """

    model_: Autoencoder
    n_features_in_: int
    _framed: bool

    def __init__(
        self,
        recipe: RecipeLike = "plain",
        *,
        latent_dim: int | None = None,
        k: int | None = None,
        steps: int | None = None,
        epochs: float | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        seed: int = 0,
        device: str | None = None,
        precision: str | None = None,
        parts: dict[str, Any] | None = None,
        label: str | None = None,
        options: dict[str, Any] | None = None,
        warm_start: bool = False,
    ) -> None:
        self.recipe = recipe
        self.latent_dim = latent_dim
        self.k = k
        self.steps = steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.precision = precision
        self.parts = parts
        self.label = label
        self.options = options
        self.warm_start = warm_start

    _not_options: tuple[str, ...] = (
        "recipe", "options", "parts", "label", "warm_start",
    )  # fmt: skip
    """Parameters that are no options of the recipe or of training."""

    def fit(self, X: Any, y: Any = None) -> "AutoencoderTransformer":
        """Fit to a matrix or frame ``(rows, features)``; ``y`` is ignored but as ``label``."""
        method = as_recipe(self.recipe)
        if method.reads_signal and not {"collection", *REAL} & {*method.kinds}:
            raise IsthmusError(
                f"the recipe {method.name!r} reads no rows of numbers, and scikit-learn passes no "
                f'others: use isthmus.fit("{method.name}", X)'
            )
        X = self._checked(X, reset=True)
        params = {n: v for n, v in self.get_params(deep=False).items() if v is not None}
        for name in self._not_options:
            params.pop(name, None)
        if self.label is not None and y is None:
            raise IsthmusError(f"label={self.label!r} needs y: pass y to fit, or leave label out")
        given = {} if self.label is None else {self.label: _numbers(y)}
        self._places = self._columns()
        recipe = self.recipe
        if self.warm_start and hasattr(self, "model_"):
            recipe = vars(self)["model_"]
        elif isinstance(recipe, Autoencoder):
            recipe = copy.deepcopy(recipe)
        settings = {**(self.options or {}), **params}
        self.model_ = fit(recipe, self._apart(X), given=given, progress=False, **settings)
        first = X.take([0]) if isinstance(X, Table) else X[:1]
        self._n_features_out = self.model_.encode(self._apart(first)).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Latents of ``X``, deterministic, ``(rows, latent_dim)``."""
        check_is_fitted(self)
        X = self._checked(X)
        return np.asarray(self.model_.encode(self._apart(X))).astype(_kind(X), copy=False)

    def inverse_transform(self, Z: Any) -> Any:
        """Reconstructions ``(rows, features)`` from latents; of a frame's, where a frame was fitted
        to, a frame under the same index."""
        check_is_fitted(self)
        rows = np.asarray(Z)
        recon = self.model_.decode(rows)
        if not is_framed(recon):
            recon = self._together(recon).astype(rows.dtype, copy=False)
            if not self._framed or not hasattr(Z, "set_axis"):
                return recon
            recon = type(Z)(recon, columns=self._names)
        return named_rows(recon, Z)

    def score_samples(self, X: Any) -> np.ndarray:
        """How normal each row is, ``(rows,)``: higher is more normal."""
        check_is_fitted(self)
        return np.asarray(self.model_.score(self._apart(self._checked(X))))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of :meth:`score_samples`."""
        return float(self.score_samples(X).mean())

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the latents: the recipe's name and a number."""
        check_is_fitted(self)
        stem = re.sub(r"\W", "_", as_recipe(self.recipe).name)
        return np.array([f"{stem}{i}" for i in range(self._n_features_out)], dtype=object)

    def _columns(self) -> dict[str, list[int]] | None:
        """The columns of each part as numbers; an error for one that is not there."""
        if self.parts is None:
            return None
        names = self._names
        places: dict[str, list[int]] = {}
        for part, columns in self.parts.items():
            selection = [columns] if isinstance(columns, (str, int)) else list(columns)
            for column in selection:
                if isinstance(column, str) and column not in names:
                    raise unknown(f"column of the part {part!r}", column, names)
                if not isinstance(column, str) and not 0 <= column < self.n_features_in_:
                    raise IsthmusError(
                        f"the part {part!r} asks for column {column} of {self.n_features_in_}: "
                        "columns count from 0"
                    )
            places[part] = [names.index(c) if isinstance(c, str) else int(c) for c in selection]
        return places

    def _apart(self, X: np.ndarray | Table) -> Any:
        if isinstance(X, Table):
            if self._places is None:
                return TableSource(X)
            names = [str(name) for name in self._names]
            return {
                part: TableSource(X.only(names[place] for place in places))
                for part, places in self._places.items()
            }
        if self._places is None:
            return X
        return {name: X[:, places] for name, places in self._places.items()}

    def _together(self, recon: Any) -> np.ndarray:
        """Reconstructions as columns in the order of X; of a single part its own alone."""
        if self._places is None or not isinstance(recon, Mapping):
            return np.asarray(recon)
        rows = len(next(iter(recon.values())))
        whole = np.full((rows, self.n_features_in_), np.nan, np.float32)
        for name, part in recon.items():
            whole[:, self._places[name]] = np.asarray(part)
        return whole

    @property
    def _names(self) -> list[str]:
        """The names of the columns fitted to, where they had any."""
        return [str(name) for name in getattr(self, "feature_names_in_", [])]

    def _checked(self, X: Any, *, reset: bool = False) -> Any:
        """A matrix of numbers as scikit-learn checks it; a frame as a table of ours."""
        if isinstance(X, Mapping) and not issparse(X):
            raise IsthmusError(
                "scikit-learn passes one matrix, and this is a mapping: put its arrays side by "
                "side and name the columns of each, parts={name: columns}"
            )
        if is_framed(X) and (reset or self._framed):
            return self._table(X, reset=reset)
        if reset:
            self._framed = False
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=reset)
        if reset and len(X) < 2:
            raise IsthmusError(
                f"n_samples={len(X)}: a single row (1 sample) cannot be fitted, pass at least 2"
            )
        return X

    def _table(self, X: Any, *, reset: bool) -> Table:
        table = as_table(X)
        assert table is not None
        if reset:
            if len(table) < 2:
                raise IsthmusError("n_samples=1: a single row cannot be fitted, pass at least 2")
            self._framed, self.n_features_in_ = True, len(table.columns)
            self.feature_names_in_ = np.array(table.names, dtype=object)
        return table


def _kind(X: Any) -> Any:
    """The type of codes: float32 for float32 alone."""
    if isinstance(X, Table):
        single = all(column.values.dtype == np.float32 for column in X.columns.values())
        return np.float32 if single else np.float64
    return X.dtype


class AutoencoderDetector(OutlierMixin, AutoencoderTransformer):
    """A recipe as a scikit-learn outlier detector: ``predict``, ``decision_function``.

    Parameters
    ----------
    recipe, latent_dim, ...
        As for :class:`AutoencoderTransformer`; the default is the recipe that the documentation
        recommends for anomalies.
    contamination : float
        Share of the training rows that are taken for anomalies, in (0, 0.5].
    scoring : "auto", "bound" or "error"
        What rows are scored by, as in ``Autoencoder.score``.

    Attributes
    ----------
    model_, n_features_in_
        As for :class:`AutoencoderTransformer`.
    offset_ : float
        The score below which a row is an outlier: that quantile of the training rows' scores.

    ``predict`` is 1 for inliers and -1 for outliers.
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012  (scikit-learn's own convention)
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "scoring": [StrOptions({"auto", "bound", "error"})],
    }

    def __init__(
        self,
        recipe: RecipeLike = "trimmed-linear-vae",
        *,
        contamination: float = 0.1,
        scoring: Kind = "auto",
        latent_dim: int | None = None,
        k: int | None = None,
        steps: int | None = None,
        epochs: float | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        seed: int = 0,
        device: str | None = None,
        precision: str | None = None,
        parts: dict[str, Any] | None = None,
        label: str | None = None,
        options: dict[str, Any] | None = None,
        warm_start: bool = False,
    ) -> None:
        super().__init__(
            recipe, latent_dim=latent_dim, k=k, steps=steps, epochs=epochs,
            batch_size=batch_size, lr=lr, seed=seed, device=device, precision=precision,
            parts=parts, label=label, options=options, warm_start=warm_start,
        )  # fmt: skip
        self.contamination = contamination
        self.scoring = scoring

    _not_options = (*AutoencoderTransformer._not_options, "contamination", "scoring")

    def fit(self, X: Any, y: Any = None) -> "AutoencoderDetector":
        """Fit to ``X`` ``(rows, features)`` and set the threshold from its own scores."""
        self._validate_params()
        super().fit(X, y)
        self.offset_ = float(np.quantile(self.score_samples(X), self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """How normal each row is, ``(rows,)``: higher is more normal."""
        check_is_fitted(self)
        rows = self._apart(self._checked(X))
        return np.asarray(self.model_.score(rows, kind=self.scoring), np.float64)

    def decision_function(self, X: Any) -> np.ndarray:
        """How far above the threshold each row is, ``(rows,)``: outliers are below 0."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """1 for inliers and -1 for outliers, ``(rows,)``."""
        return np.where(self.decision_function(X) < 0, -1, 1)


def _numbers(y: Any) -> np.ndarray:
    """Classes as their numbers from 0; values that are no whole numbers as they are."""
    values = np.asarray(y)
    if values.dtype.kind == "f" and not (values == np.round(values)).all():
        return values
    return classes(y, "labels")[1]
