"""The means of clusters as a dictionary."""

from typing import Annotated, Any

import torch
from pydantic import Field

from isthmus.anatomy import Autoencoder, ReportProgress, Signal
from isthmus.bottlenecks import NearestAtom
from isthmus.networks import Dictionary, TiedEncoder
from isthmus.objectives import MSE
from isthmus.recipes.options import DictionaryDim, Iterations, RowsInMemory
from isthmus.recipes.registry import recipe
from isthmus.training.sklearn_solver import SklearnSolver


@recipe(
    "k-means",
    family="classic",
    paper="Lloyd, Least squares quantization in PCM, 1982, doi:10.1109/TIT.1982.1056489; Arthur, "
    "Vassilvitskii, k-means++: the advantages of careful seeding, 2007",
    formula="z_j = 1 for j = argmin |x - w_j|, else 0,  x^ = w_j,  min |x - x^|^2",
    claim="One prototype an example; the seeding is within O(log k) of the best clustering.",
    scaling="global",
    solved=True,
)
def k_means(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 256,
    restarts: Annotated[
        int, Field(gt=0, description="seedings, of which the best result is taken")
    ] = 1,
    iterations: Iterations = 300,
    rows: RowsInMemory = 65_536,
) -> Autoencoder:
    """Every example is rebuilt as the prototype that lies nearest: the sparsest code there is.

    Atoms are the means of clusters; a code is one latent with the value one, whose number is the
    cluster. Against a sparse dictionary it says what one atom an example can do. Fitted by
    scikit-learn (seeding by k-means++, then Lloyd's or Elkan's iteration); training options other
    than ``seed`` have no effect. An example is told the nearest mean by one product with the
    dictionary.

    Data are divided by one number, which changes no cluster; ``scaling=columns`` weighs all columns
    alike.
    """

    def estimator(seed: int, shape: tuple[int, int], report: ReportProgress) -> Any:
        from sklearn.cluster import KMeans

        return KMeans(latent_dim, n_init=restarts, max_iter=iterations, random_state=seed)

    return Autoencoder(
        signal,
        encoder=TiedEncoder(latent_dim, held=True),
        bottleneck=NearestAtom(),
        decoder=Dictionary(latent_dim, signal.shape, unit=False),
        objective=MSE(),
        solver=SklearnSolver("k-means", estimator, _install, rows=rows, least=latent_dim),
    )


def _install(model: Autoencoder, estimator: Any) -> dict[str, float]:
    means = torch.from_numpy(estimator.cluster_centers_).double()
    decoder = model.part_as("decoder", Dictionary, _install)
    decoder.weight.copy_(means)
    decoder.bias.zero_()
    model.part_as("encoder", TiedEncoder, _install).bias.copy_(-0.5 * means.square().sum(1))
    return {"iterations": float(estimator.n_iter_), "inertia": float(estimator.inertia_)}
