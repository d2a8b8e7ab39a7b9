"""What is compared: recipes and baselines behind one small face."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from isthmus import data, notices, runs
from isthmus.anatomy import Autoencoder, GaussianCode
from isthmus.anatomy.randomness import drawing
from isthmus.comparison.collection_columns import Layout
from isthmus.comparison.prepared import Split
from isthmus.errors import IsthmusError
from isthmus.recipes import Recipe
from isthmus.training.run import PREPARE_ROWS

MIXTURE_COMPONENTS = 10
MANY = 1 << 22
"""Elements from which principal components are found by way of the covariance."""
CEILING = 4000
"""Steps at most, the same for all recipes, where no number is asked for."""
SAMPLES = 64
"""Importance samples of a density."""


@dataclass(frozen=True)
class Budget:
    """What every recipe gets: steps, rows a step, and the size of the code.

    Without ``steps`` each recipe trains until nothing is gained any more on a part of the training
    rows, at most :data:`CEILING` steps, whatever its page says.

    ``latents`` for a dense code; a sparse dictionary has ``width`` latents of which ``latents``
    are active (at most), so that a code holds as many numbers. ``minutes`` are of each fit; the
    steps of one that does not fit into them are fewer (:mod:`isthmus.training.plan`).
    """

    steps: int | None
    batch_size: int
    latents: int
    width: int
    minutes: float | None = None


class Fitted(Protocol):
    """A fitted method. What it cannot do is None."""

    parameters: int

    def codes(self, x: np.ndarray) -> np.ndarray | None:
        """``(rows, latents)``."""

    def rebuilt(self, x: np.ndarray) -> np.ndarray | None:
        """Like ``x``."""

    def decoded(self, z: np.ndarray) -> np.ndarray | None:
        """What codes stand for, ``(rows, ...)``."""

    def normality(self, x: np.ndarray) -> np.ndarray | None:
        """``(rows,)``, higher is more normal."""

    def log_density(self, x: np.ndarray) -> np.ndarray | None:
        """Mean log density in nats, ``(rows,)``, or the one mean ``(1,)`` of a bound."""

    def clusters(self, x: np.ndarray) -> np.ndarray | None:
        """Cluster numbers ``(rows,)``, where the method assigns them itself."""


class Base:
    """A method that can do nothing yet."""

    parameters = 0

    def codes(self, x: np.ndarray) -> np.ndarray | None:
        return None

    def rebuilt(self, x: np.ndarray) -> np.ndarray | None:
        return None

    def decoded(self, z: np.ndarray) -> np.ndarray | None:
        return None

    def normality(self, x: np.ndarray) -> np.ndarray | None:
        return None

    def log_density(self, x: np.ndarray) -> np.ndarray | None:
        return None

    def clusters(self, x: np.ndarray) -> np.ndarray | None:
        return None


class Model(Base):
    """An autoencoder of ours."""

    def __init__(self, model: Autoencoder, layout: Layout | None = None) -> None:
        self.model, self.layout = model, layout
        self.parameters = sum(p.numel() for p in model.parameters())

    def codes(self, x: np.ndarray) -> np.ndarray | None:
        z = np.asarray(self.model.encode(self._read(x)))
        return z.reshape(len(z), -1)

    def rebuilt(self, x: np.ndarray) -> np.ndarray | None:
        if self.model.decoder is None or self.model.target is not None:
            return None
        return self._flat(self.model.reconstruct(self._read(x))).reshape(x.shape)

    def decoded(self, z: np.ndarray) -> np.ndarray | None:
        try:
            return self._flat(self.model.decode(z, as_read=True))
        except IsthmusError:  # it decodes from more than the latents
            return None

    def normality(self, x: np.ndarray) -> np.ndarray | None:
        return None if self.model.decoder is None else np.asarray(self.model.score(self._read(x)))

    def log_density(self, x: np.ndarray) -> np.ndarray | None:
        if not isinstance(self.model.encode(self._read(x[:2]), code=True), GaussianCode):
            return None
        results = runs.evaluate(self.model, self._read(x), samples=SAMPLES)
        bound = results.get("importance_bound")
        return None if bound is None or "cross-entropy" in bound.note else np.array([bound.value])

    def _read(self, x: np.ndarray) -> Any:
        """Rows as the model reads them: apart, where it reads a collection."""
        return x if self.layout is None else self.layout.apart(x)

    def _flat(self, rows: Any) -> np.ndarray:
        return np.asarray(rows) if self.layout is None else self.layout.together(rows)


def layout_for(recipe: Recipe, split: Split) -> Layout | None:
    """How rows are taken apart for a recipe that reads a collection; others read them whole."""
    reads_parts = recipe.model is not None and recipe.model.signal.kind == "collection"
    return split.layout if reads_parts or "collection" in recipe.kinds else None


def fit_recipe(
    recipe: Recipe, split: Split, budget: Budget, seed: int, options: Mapping[str, Any]
) -> Model:
    """Train a recipe under the budget; ``options`` are the user's for it, and win."""
    fit_options = {**budgeted(recipe, budget), "seed": seed, **options}
    layout = layout_for(recipe, split)
    rows = _rows_of(split, layout)
    if split.reads is not None and "kind" not in recipe.model_options.model_fields:
        fit_options = {"kind": split.reads, **fit_options}
    with notices.collected(quiet=True):  # the budget is the same for all, and said on the page
        return Model(runs.fit(recipe, rows, progress=False, **fit_options), layout)


def _rows_of(split: Split, layout: Layout | None) -> Any:
    """A split's training rows as a model reads them."""
    if layout is not None:
        return layout.apart(split.train)
    if split.truths is None:
        return split.train
    source = data.as_source(split.train)
    source.truths = split.truths
    return source


def untrained(recipe: Recipe, split: Split, budget: Budget, seed: int, options: Any) -> Model:
    """The recipe's model as it is before the first step."""
    layout = layout_for(recipe, split)
    source = data.as_source(_rows_of(split, layout), split.reads)
    model_options, _ = recipe.parse({**budgeted(recipe, budget), **options})
    model = runs.build(recipe, source, model_options, seed)
    with drawing(torch.device("cpu"), seed):
        sample = source.batch(torch.arange(min(len(source), PREPARE_ROWS)))
        model.prepare(sample, source=None if split.truths is None else source)
    return Model(model.eval(), layout)


def budgeted(recipe: Recipe, budget: Budget) -> dict[str, Any]:
    """The budget in the recipe's own options."""
    fields = recipe.model_options.model_fields
    options: dict[str, Any] = {"steps": budget.steps, "batch_size": budget.batch_size}
    if budget.steps is None:
        options.update(steps=CEILING, length="auto")
    if budget.minutes is not None:
        options["minutes"] = budget.minutes
    sparse = "k" in fields or "l0" in fields
    if "latent_dim" in fields:
        options["latent_dim"] = budget.width if sparse else budget.latents
    for name in ("k", "l0"):
        if name in fields:
            options[name] = budget.latents
    return options


class PCA(Base):
    """Principal components, and the density of probabilistic PCA (Tipping & Bishop 1999)."""

    def __init__(self, split: Split, latents: int, seed: int) -> None:
        from sklearn.decomposition import PCA as Components

        flat = split.flat_train
        number = min(latents, flat.shape[1] - 1, len(flat) - 1)
        # A decomposition of many rows takes their memory several times.
        many = flat.size > MANY and 10 * flat.shape[1] < len(flat)
        solver = "covariance_eigh" if many else "full"
        self.inner = Components(max(1, number), svd_solver=solver, random_state=seed).fit(flat)
        self.parameters = self.inner.components_.size + flat.shape[1]

    def codes(self, x: np.ndarray) -> np.ndarray | None:
        return np.asarray(self.inner.transform(_flat(x)))

    def rebuilt(self, x: np.ndarray) -> np.ndarray | None:
        return np.asarray(self.inner.inverse_transform(self.codes(x))).reshape(x.shape)

    def decoded(self, z: np.ndarray) -> np.ndarray | None:
        return np.asarray(self.inner.inverse_transform(z))

    def normality(self, x: np.ndarray) -> np.ndarray | None:
        recon = self.rebuilt(x)
        assert recon is not None
        return -np.square(_flat(x) - _flat(recon)).mean(1)

    def log_density(self, x: np.ndarray) -> np.ndarray | None:
        return np.asarray(self.inner.score_samples(_flat(x)))


class Raw(Base):
    """The data themselves as the code."""

    def codes(self, x: np.ndarray) -> np.ndarray | None:
        return _flat(x)


class Forest(Base):
    """Isolation forest (Liu, Ting & Zhou 2008)."""

    def __init__(self, split: Split, seed: int) -> None:
        from sklearn.ensemble import IsolationForest

        self.inner = IsolationForest(random_state=seed).fit(split.flat_train)

    def normality(self, x: np.ndarray) -> np.ndarray | None:
        return np.asarray(self.inner.score_samples(_flat(x)))


class Mixture(Base):
    """A Gaussian mixture on the codes of a model, or on the data where there is none."""

    def __init__(self, split: Split, components: int, seed: int, on: Model | None) -> None:
        from sklearn.mixture import GaussianMixture

        self.on = on
        z = self._seen(split.train)
        components = max(1, min(components, len(z) // (2 * z.shape[1]) or 1))
        self.inner = GaussianMixture(
            components, reg_covar=1e-4, random_state=seed, n_init=2, covariance_type="full"
        ).fit(z)
        means, covariances = self.inner.means_.size, self.inner.covariances_.size
        self.parameters = means + covariances + (0 if on is None else on.parameters)

    def _seen(self, x: np.ndarray) -> np.ndarray:
        z = _flat(x) if self.on is None else self.on.codes(x)
        assert z is not None
        return z

    def normality(self, x: np.ndarray) -> np.ndarray | None:
        return np.asarray(self.inner.score_samples(self._seen(x)))

    def log_density(self, x: np.ndarray) -> np.ndarray | None:
        return self.normality(x) if self.on is None else None

    def clusters(self, x: np.ndarray) -> np.ndarray | None:
        return np.asarray(self.inner.predict(self._seen(x)))


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)
