"""The diagonal Gaussian posterior of the variational autoencoder (Kingma, Welling 2013)."""

import math

import torch
from torch import Tensor, nn

from isthmus.anatomy import GaussianCode, Prior


class GaussianBottleneck(nn.Module):
    """Splits ``(rows, 2 latent)`` into mean and log-variance, and draws by reparameterisation.

    With ``samples=None`` one draw without a sample axis; with a number, that many draws on a
    leading axis. Without ``sample`` the code is the mean. ``logvar_limit`` keeps the log-variance
    within ±20 so that its exponential stays finite in float32.
    """

    logvar_limit = 20.0

    def __init__(self, samples: int | None = None) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, h: Tensor, *, sample: bool = False) -> GaussianCode:
        mean, logvar = h.chunk(2, dim=-1)
        logvar = logvar.clamp(-self.logvar_limit, self.logvar_limit)
        code = GaussianCode(mean, mean, logvar)
        if not sample:
            return code
        if self.samples is not None:
            return code.draw(self.samples)
        noise = torch.randn_like(mean)
        return GaussianCode(mean + noise * (0.5 * logvar).exp(), mean, logvar)


class StandardNormal(Prior):
    """The prior N(0, I) over ``latent_dim`` dimensions."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, self.latent_dim)

    def log_prob(self, z: Tensor) -> Tensor:
        z = z if z.dtype == torch.float64 else z.float()
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def kl(self, mean: Tensor, logvar: Tensor) -> Tensor:
        return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum(-1)
