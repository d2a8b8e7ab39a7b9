"""Another way to match codes to a prior: a kernel (WAE-MMD, Tolstikhin et al. 2018)."""

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Output, Term
from isthmus.shapes import Float

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Multiples of the kernel's base scale, as in the authors' code."""


def kernel_discrepancy(
    a: Float[Tensor, "rows dim"], b: Float[Tensor, "rows dim"]
) -> Float[Tensor, ""]:
    """Unbiased squared MMD of two samples of the same size, two rows or more.

    With inverse multiquadric kernels ``C / (C + |x - y|^2)``, C = 2 dim times each of ``SCALES``,
    summed: those of Tolstikhin et al. 2018 for a standard normal prior.
    """
    rows, dim = a.shape

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        squared = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
        return torch.stack([2 * dim * s / (2 * dim * s + squared) for s in SCALES]).sum(0)

    def others(k: Tensor) -> Tensor:
        return (k.sum() - k.diagonal().sum()) / (rows * (rows - 1))

    return others(kernel(a, a)) + others(kernel(b, b)) - 2.0 * kernel(a, b).mean()


def drawn(model: Autoencoder, codes: Tensor) -> Tensor:
    """As many draws of the model's prior as there are codes."""
    if model.prior is None:
        raise TypeError("codes are matched to a prior, and the model has none")
    return model.prior.sample(len(codes)).to(codes)


class KernelDiscrepancy(Term):
    """Squared MMD of the batch's codes from as many fresh draws of the prior (WAE-MMD)."""

    name = "kernel_discrepancy"
    unit = "sum of seven kernels"
    per_example = False
    rebuilds = False
    estimator = "two samples as large as the batch, unbiased"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return kernel_discrepancy(out.code.z, drawn(model, out.code.z))
