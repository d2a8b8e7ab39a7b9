"""Non-negative matrix factorisation."""

from typing import Any

import torch

from isthmus.anatomy import Autoencoder, ReportProgress, Signal
from isthmus.bottlenecks import PricedCode
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, TiedEncoder
from isthmus.objectives import MSE
from isthmus.recipes.options import Iterations, LatentDim, RowsInMemory
from isthmus.recipes.registry import recipe
from isthmus.training.sklearn_solver import SklearnSolver, negative


@recipe(
    "nmf",
    family="classic",
    paper="Lee, Seung, Learning the parts of objects by non-negative matrix factorization, 1999, "
    "doi:10.1038/44565; Cichocki, Phan, Fast local algorithms for large scale nonnegative matrix "
    "and tensor factorizations, 2009, doi:10.1587/transfun.E92.A.708",
    formula="x^ = z W,  z >= 0,  W >= 0,  min |x - x^|^2",
    claim="Where nothing can be subtracted the atoms are parts of the examples.",
    scaling="none",
    solved=True,
)
def nmf(
    signal: Signal,
    *,
    latent_dim: LatentDim = 32,
    iterations: Iterations = 400,
    rows: RowsInMemory = 65_536,
) -> Autoencoder:
    """Sums of parts: neither the atoms nor the amounts of them may be negative.

    For data without negative elements, such as counts, grey values or rectified activations; other
    data are refused. Atoms have norm 1. A row is encoded by non-negative least squares, of which
    many latents are exactly zero: the best code that there is for its atoms.
    Fitted by scikit-learn (coordinate descent from a singular value decomposition, with more
    latents than elements from random numbers); training
    options other than ``seed`` have no effect.

    Published: multiplicative updates. Coordinate descent has the same minima and needs fewer
    iterations. Nothing is scaled.
    """
    if signal.low is not None and signal.low < 0.0:
        raise IsthmusError(negative("nmf", signal.low))

    def estimator(seed: int, shape: tuple[int, int], report: ReportProgress) -> Any:
        from sklearn.decomposition import NMF

        # The decomposition has no more vectors than rows or elements.
        start = "nndsvda" if latent_dim <= min(shape) else "random"
        return NMF(latent_dim, init=start, max_iter=iterations, random_state=seed)

    elements = torch.Size(signal.shape).numel()
    return Autoencoder(
        signal,
        encoder=TiedEncoder(latent_dim, held=True),
        bottleneck=PricedCode(non_negative=True),
        decoder=Dictionary(latent_dim, signal.shape, unit=False),
        objective=MSE(),
        solver=SklearnSolver(
            "nmf",
            estimator,
            _install,
            rows=rows,
            least=min(latent_dim, elements),
            non_negative=True,
        ),
    )


def _install(model: Autoencoder, estimator: Any) -> dict[str, float]:
    atoms = torch.from_numpy(estimator.components_)
    lengths = atoms.norm(dim=1, keepdim=True)
    decoder = model.part_as("decoder", Dictionary, _install)
    decoder.weight.copy_(torch.where(lengths > 0, atoms / lengths, 0.0))
    decoder.bias.zero_()
    return {"iterations": float(estimator.n_iter_)}
