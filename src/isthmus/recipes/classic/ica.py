"""Independent components."""

from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from isthmus.anatomy import Autoencoder, ReportProgress, Signal
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, LinearProjection
from isthmus.objectives import MSE
from isthmus.recipes.classic.pca import write
from isthmus.recipes.options import Iterations, LatentDim, RowsInMemory
from isthmus.recipes.registry import recipe
from isthmus.training.sklearn_solver import SklearnSolver

FLAT = 1e-6
"""Of the largest deviation: along directions in which the data spread less there is nothing."""


@recipe(
    "ica",
    family="classic",
    paper="Hyvarinen, Oja, Independent component analysis: algorithms and applications, 2000, "
    "doi:10.1016/S0893-6080(00)00026-5",
    formula="z = (x - m) W^T,  x^ = z A^T + m,  A = W^+,  max sum_i (E[G(z_i)] - E[G(n)])^2,  "
    "cov(z) = I",
    claim="Sources that are independent and not normal are recovered from their mixtures, but for "
    "order, sign and size.",
    scaling="global",
    solved=True,
)
def ica(
    signal: Signal,
    *,
    latent_dim: LatentDim = 32,
    contrast: Annotated[
        Literal["logcosh", "exp", "cube"],
        Field(description="G, by which it is told how far from normal a latent is"),
    ] = "logcosh",
    iterations: Iterations = 200,
    rows: RowsInMemory = 65_536,
) -> Autoencoder:
    """Directions along which the data are as far from normal as can be: sources behind mixtures.

    Latents are uncorrelated with variance 1, and rotated within the principal subspace until they
    are independent; so it rebuilds as well as PCA with as many latents, to the digit, and only the
    directions differ. Their order, signs and the lengths of the atoms mean nothing. Fitted by
    scikit-learn's FastICA, all latents together; training options other than ``seed`` have no
    effect.

    Published: the fixed-point iteration with ``logcosh`` as the choice for all purposes, ``exp``
    where sources are far from normal, ``cube`` (the kurtosis) where there are no outliers.
    """
    elements = torch.Size(signal.shape).numel()
    if latent_dim > elements:
        raise IsthmusError(
            f"latent_dim={latent_dim} is more than the {elements} elements of a row can be mixed "
            f"of: choose at most {elements}"
        )

    def estimator(seed: int, shape: tuple[int, int], report: ReportProgress) -> Any:
        from sklearn.decomposition import PCA, FastICA
        from sklearn.pipeline import make_pipeline

        # FastICA's own whitening loses a component where the first column is constant.
        return make_pipeline(
            PCA(latent_dim, whiten=True, svd_solver="full"),
            FastICA(fun=contrast, max_iter=iterations, random_state=seed, whiten=False),
        )

    return Autoencoder(
        signal,
        encoder=LinearProjection(latent_dim, elements),
        bottleneck=Identity(),
        decoder=Dictionary(latent_dim, signal.shape, unit=False),
        objective=MSE(),
        solver=SklearnSolver("ica", estimator, _install, rows=rows, least=latent_dim),
    )


def _install(model: Autoencoder, estimator: Any) -> dict[str, float]:
    whitening, rotation = (step for _, step in estimator.steps)
    deviations = np.sqrt(whitening.explained_variance_)[:, None]
    rank = int((deviations > FLAT * deviations[0]).sum())
    if rank < len(deviations):
        raise IsthmusError(
            f"the data vary in {rank} directions, of which {len(deviations)} independent "
            f"components cannot be had: set latent_dim to {rank} or less"
        )
    turned, axes = rotation.components_, whitening.components_
    read, atoms = turned @ (axes / deviations), turned @ (axes * deviations)
    write(model, *(torch.from_numpy(part) for part in (read, atoms, whitening.mean_)))
    return {"iterations": float(rotation.n_iter_)}
