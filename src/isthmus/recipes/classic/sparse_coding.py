"""Sparse coding: a dictionary learnt by alternation, without an encoder."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from isthmus.anatomy import Autoencoder, ReportProgress, Signal
from isthmus.bottlenecks import MatchingPursuit, PricedCode
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, TiedEncoder
from isthmus.objectives import MSE
from isthmus.recipes.options import (
    ActiveLatents,
    DictionaryDim,
    NonNegative,
    RowsInMemory,
    check_active,
)
from isthmus.recipes.registry import recipe
from isthmus.training.sklearn_solver import SklearnSolver

NEVER = 2**62
"""Rows after which a latent is dead: nothing counts them where nothing is trained by steps."""


@recipe(
    "sparse-coding",
    family="classic",
    paper="Olshausen, Field, Emergence of simple-cell receptive field properties by learning a "
    "sparse code for natural images, 1996, doi:10.1038/381607a0; Mairal, Bach, Ponce, Sapiro, "
    "Online dictionary learning for sparse coding, 2009, doi:10.1145/1553374.1553463",
    formula="min over W, z of |x - m - z W|^2 / 2 + alpha |z|_1,  |w_j| <= 1;  then z = OMP(x - m; "
    "W, k), or that minimum in z",
    claim="Codes that are solved for each example, not guessed by a network, and a dictionary "
    "fitted to them, find the sources of natural images.",
    scaling="global",
    solved=True,
)
def sparse_coding(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 256,
    k: ActiveLatents = 32,
    code: Annotated[
        Literal["omp", "lasso"],
        Field(
            description="how rows are encoded: by k steps of orthogonal matching pursuit, or by "
            "the price of learning"
        ),
    ] = "omp",
    sparsity: Annotated[
        float,
        Field(gt=0, description="alpha: price of |z|_1 in learning, and in encoding by lasso"),
    ] = 1.2,
    signed: Annotated[bool, Field(description="whether latents may be negative")] = False,
    batch: Annotated[int, Field(gt=0, description="rows that are coded at a time")] = 256,
    passes: Annotated[int, Field(gt=0, description="passes over the rows at most")] = 10,
    tolerance: Annotated[
        NonNegative, Field(description="change of the dictionary below which it ends")
    ] = 1e-4,
    rows: RowsInMemory = 65_536,
) -> Autoencoder:
    """The dictionary that learns without an encoder: codes are solved for, example by example.

    What sparse autoencoders approximate. Learning alternates between the codes of some rows under a
    price on their size and a dictionary that fits all codes so far (online dictionary learning, by
    scikit-learn's MiniBatchDictionaryLearning); training options other than ``seed`` have no
    effect. Encoding costs k products with the dictionary, or many for ``code=lasso``; that is what
    an encoder's one product is to be held against.

    Published: alpha of 1.2 over the square root of the elements for rows of norm 1, which is the
    1.2 here, where the mean square of an element is 1 (``scaling=global``); batches of 512, here
    scikit-learn's 256. Codes of either sign, here ``signed``: by default they are rectified, as
    those of the dictionaries beside which it stands. The mean is taken off first, as the bias of
    the others does. With ``omp`` the k steps choose positive products; the coefficients that are
    then fitted together are not held to that.
    """
    check_active(latent_dim, k=k)
    elements = torch.Size(signal.shape).numel()
    if code == "omp" and k > min(latent_dim, elements):
        raise IsthmusError(
            f"k={k} is more than orthogonal pursuit can take of rows of {elements} elements and "
            f"{latent_dim} latents: lower it, or set code=lasso"
        )

    def estimator(seed: int, shape: tuple[int, int], report: ReportProgress) -> Any:
        from sklearn.decomposition import MiniBatchDictionaryLearning
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        steps = passes * -(-shape[0] // batch)
        learning = MiniBatchDictionaryLearning(
            latent_dim, alpha=sparsity, batch_size=batch, max_iter=passes, tol=tolerance,
            fit_algorithm="cd", positive_code=not signed, max_no_improvement=None,
            random_state=seed,
            callback=lambda state: report(state["i"], steps, "batches"),
        )  # fmt: skip
        return make_pipeline(StandardScaler(with_std=False), learning)

    bottleneck = (
        MatchingPursuit(latent_dim, k, NEVER, orthogonal=True, signed=signed)
        if code == "omp"
        else PricedCode(sparsity, non_negative=not signed)
    )
    return Autoencoder(
        signal,
        encoder=TiedEncoder(latent_dim, held=True, subtract_bias=True),
        bottleneck=bottleneck,
        decoder=Dictionary(latent_dim, signal.shape, unit=True),
        objective=MSE(),
        solver=SklearnSolver("sparse-coding", estimator, _install, rows=rows),
    )


def _install(model: Autoencoder, estimator: Any) -> dict[str, float]:
    centring, learning = (step for _, step in estimator.steps)
    decoder = model.part_as("decoder", Dictionary, _install)
    decoder.weight.copy_(torch.from_numpy(learning.components_))
    decoder.constrain()
    decoder.bias.copy_(torch.from_numpy(centring.mean_))
    return {"batches": float(learning.n_steps_)}
