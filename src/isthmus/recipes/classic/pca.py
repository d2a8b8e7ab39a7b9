"""Principal components."""

import math
from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, ReportProgress, Signal
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, LinearProjection
from isthmus.objectives import MSE
from isthmus.recipes.options import LatentDim, RowsInMemory
from isthmus.recipes.registry import recipe
from isthmus.training.sklearn_solver import SklearnSolver

MANY = 1 << 22
"""Elements of the rows from which the components are found by way of the covariance: a
decomposition of the rows themselves takes their memory several times."""


@recipe(
    "pca",
    family="classic",
    paper="Pearson, On lines and planes of closest fit to systems of points in space, 1901, "
    "doi:10.1080/14786440109462720; Hotelling, Analysis of a complex of statistical variables into "
    "principal components, 1933, doi:10.1037/h0071325",
    formula="z = (x - m) V^T,  x^ = z V + m,  V V^T = I,  min |x - x^|^2",
    claim="No other linear map to as many numbers and back leaves less squared error.",
    scaling="global",
    solved=True,
)
def pca(signal: Signal, *, latent_dim: LatentDim = 32, rows: RowsInMemory = 65_536) -> Autoencoder:
    """The directions in which the data spread the most: the best linear code of its size.

    The first baseline of every comparison, as an ordinary model: encode, decode, evaluate, save.
    Latents are ordered by their variance and uncorrelated; atoms are orthonormal. Fitted in closed
    form by scikit-learn, so that training options other than ``seed`` have no effect, and a seed
    matters only where there are more rows than are held. What a density is asked of, the recipe
    ``trimmed-linear-vae`` with ``trim=0`` has: probabilistic PCA.

    Components depend on the units of the columns. Here the data are divided by one number
    (``scaling=global``), which leaves the components as they are; ``scaling=columns`` makes them
    those of the correlations.
    """
    elements = torch.Size(signal.shape).numel()
    if latent_dim > elements:
        raise IsthmusError(
            f"latent_dim={latent_dim} is more than the {elements} elements of a row have "
            f"components: choose at most {elements}"
        )

    def estimator(seed: int, shape: tuple[int, int], report: ReportProgress) -> Any:
        from sklearn.decomposition import PCA

        many = math.prod(shape) > MANY and 10 * shape[1] < shape[0]
        return PCA(latent_dim, svd_solver="covariance_eigh" if many else "full")

    return Autoencoder(
        signal,
        encoder=LinearProjection(latent_dim, elements),
        bottleneck=Identity(),
        decoder=Dictionary(latent_dim, signal.shape, unit=False),
        objective=MSE(),
        solver=SklearnSolver(
            "pca", estimator, _install, rows=rows, least=latent_dim, draws_nothing=True
        ),
    )


def _install(model: Autoencoder, estimator: Any) -> dict[str, float]:
    axes = torch.from_numpy(estimator.components_)
    write(model, axes, axes, torch.from_numpy(estimator.mean_))
    return {"explained": float(estimator.explained_variance_ratio_.sum())}


def write(model: Autoencoder, read: Tensor, atoms: Tensor, mean: Tensor) -> None:
    """Set the rows that are read and the atoms, both ``(latents, d)``, and the mean ``(d,)``."""
    model.part_as("encoder", LinearProjection, write).weight.copy_(read)
    decoder = model.part_as("decoder", Dictionary, write)
    decoder.weight.copy_(atoms)
    decoder.bias.copy_(mean)
