"""Two other ways to match codes to a prior: a kernel and an adversary (Tolstikhin et al. 2018)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Output, Term
from isthmus.shapes import Float

CRITIC = "critic"
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


class CodeCritic(Term):
    """``-log D(z) - log(1 - D(f(x)))``: the critic tells draws of the prior from codes."""

    name = "code_critic"
    unit = "nats"
    rebuilds = False
    player = CRITIC

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        critic, codes = model.critics[CRITIC], out.code.z
        return F.softplus(-critic(drawn(model, codes))) + F.softplus(critic(codes))


class FooledCritic(Term):
    """``-log D(f(x))``: codes that the critic takes for draws of the prior (WAE-GAN)."""

    name = "fooled_critic"
    unit = "nats"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return F.softplus(-model.critics[CRITIC](out.code.z))


def code_critic(latent_dim: int, width: int) -> nn.Module:
    """Logits ``(rows,)`` that a code is a draw of the prior; two hidden layers."""
    return nn.Sequential(
        nn.Linear(latent_dim, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 1),
        nn.Flatten(0),
    )
