"""The k-sparse autoencoder."""

import sys
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Linear,
    Signal,
    SparseCode,
    Step,
)
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, TiedEncoder
from isthmus.objectives import SquaredError
from isthmus.recipes.options import ActiveLatents, DictionaryDim, check_active
from isthmus.recipes.registry import recipe

SIGMA = 0.01
"""Standard deviation of each weight at the start, as published, whatever the number of elements."""


class KSparse(nn.Module):
    """Keeps the largest pre-activations of each row as they are, negative ones too.

    In training k of them, k falling in a straight line from ``start`` over the share ``annealed``
    of the run; in evaluation ``alpha k``, rounded. ``alpha`` may be set at any time and is saved
    with the model.
    """

    by_latent = ()

    _alpha: Tensor

    def __init__(self, width: int, k: int, start: int, annealed: float, alpha: float) -> None:
        super().__init__()
        self.width, self.k = width, k
        self.annealing = Linear(start, k, sys.maxsize, fit=annealed)
        self.register_buffer("_alpha", torch.tensor(alpha, dtype=torch.float64))

    @property
    def alpha(self) -> float:
        """Evaluation keeps this many times k latents."""
        return float(self._alpha)

    @alpha.setter
    def alpha(self, value: float) -> None:
        if not value > 0.0:
            raise IsthmusError(
                f"alpha={value} must be positive: 1 keeps k latents, 3 three times k"
            )
        self._alpha.fill_(value)

    def forward(
        self, h: Preactivations, *, sample: bool = False, step: Step | None = None
    ) -> SparseCode:
        if sample and self.training:
            return self._largest(h, self.k if step is None else round(self.annealing(step.clock)))
        return self._largest(h, round(self.alpha * self.k))

    def _largest(self, h: Preactivations, k: int) -> SparseCode:
        values, indices = h.top(min(self.width, max(1, k)))
        return SparseCode(values, indices, h.width)


@recipe(
    "k-sparse",
    family="sparse",
    catalogue=14,
    paper="Makhzani, Frey, k-Sparse Autoencoders, 2013, arXiv:1312.5663",
    formula="z = W^T x + b,  G = the k largest of z,  x^ = W z_G + b',  L = |x - x^|^2;  "
    "as features: the alpha k largest",
    claim="Hard sparsity alone, without noise or penalty, gives better unsupervised features than "
    "denoising and dropout autoencoders; k trades local (large) against global (small) features; "
    "annealing k prevents dead units.",
    training={
        "epochs": 50,
        "lr": 0.2,
        "batch_size": 100,
        "optimiser": "sgd",
        "optimiser_options": {"momentum": 0.9},
        "lr_schedule": "linear",
    },
    scaling="norm",
)
def k_sparse(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 1000,
    k: ActiveLatents = 25,
    k_start: Annotated[
        int | None,
        Field(gt=0, description="k at first, at most latent_dim (none: k from the beginning)"),
    ] = 100,
    annealed: Annotated[
        float, Field(gt=0, le=1, description="share of the run over which k falls")
    ] = 0.5,
    sigma: Annotated[
        float, Field(gt=0, description="standard deviation of the weights at the start")
    ] = SIGMA,
    alpha: Annotated[
        float, Field(gt=0, description="evaluation keeps the alpha k largest latents")
    ] = 1.0,
) -> Autoencoder:
    """A linear autoencoder with tied weights, of whose code only the k largest entries remain.

    The selection is the only nonlinearity: what is kept is not rectified, and gradients flow
    through it alone. k falls in a straight line over the first half of the run, so that every
    unit is used before units have to compete. It is one step of iterative hard thresholding, and
    finds the right support where the dictionary is incoherent.

    As features the paper takes the ``alpha k`` largest entries (alpha about 3 helps). Here alpha
    is 1 unless asked for, since more latents than in training spoil the reconstruction; set it
    before or after fitting (``model.bottleneck.alpha = 3``).

    Published: 1000 units for MNIST, k = 25 for the best linear classifier, k annealed from about
    100 over half of the epochs, tied weights, and for MNIST stochastic gradient descent at a
    constant rate of 0.01 with momentum 0.9 for 5000 epochs, from normal weights of sigma 0.01
    (section 4.2; the author's notebook has the same numbers, batches of 128, half the squared error
    and a rectifier). Of these sigma and the momentum are the defaults. The rest is ours: a rate
    that falls in a straight line, batches of 100 and 50 epochs, a hundredth of the paper's.

    Data are divided by one number c, so that the mean squared norm of a row is 1 and one learning
    rate suits all. The published rate is then ``0.01 c^2 / 2`` for the weights, 0.44 on MNIST with
    its c^2 of 88: ``lr=0.44, lr_schedule="constant", batch_size=128, epochs=5000`` is the published
    run but for the biases, whose rate does not grow with c. ``scaling="none", lr=0.005`` gives both
    as published. A unit that never wins stays small and loses ever after, which is what annealing
    prevents; with a larger ``sigma`` more units live without it.
    """
    check_active(latent_dim, k=k)
    start = k if k_start is None else max(k, min(k_start, latent_dim))
    dictionary = Dictionary(latent_dim, signal.shape, unit=False)
    with torch.no_grad():
        dictionary.weight.normal_(0.0, sigma)
    return Autoencoder(
        signal,
        encoder=TiedEncoder(latent_dim),
        bottleneck=KSparse(latent_dim, k, start, annealed, alpha),
        decoder=dictionary,
        objective=SquaredError(),
    )
