"""A mixture of Gaussians fitted to the codes of a trained model (Ghosh et al. 2020)."""

import math
import warnings

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, GaussianCode, Prior, Source, evaluating
from isthmus.errors import IsthmusError

_ROWS_AT_ONCE = 1024


class GaussianMixturePrior(Prior):
    """A mixture of ``components`` Gaussians with full covariances, fitted once the model is.

    Ex-post density estimation: Ghosh, Sajjadi, Vergari, Black & Schölkopf, From Variational to
    Deterministic Autoencoders, ICLR 2020, arXiv:1903.12436, section 4, with 10 components there.
    The codes ``(rows, latent_dim)`` are those of at most ``rows`` rows, taken evenly; of a Gaussian
    posterior one draw each, so that what is fitted is the aggregated posterior, or its means where
    ``draw`` is false. ``floor`` is added to each variance. Until :meth:`finish` the prior is
    N(0, I). EM (scikit-learn's) starts from a seed of the run.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(
        self,
        latent_dim: int,
        components: int = 10,
        *,
        rows: int = 100_000,
        draw: bool = True,
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        self.latent_dim, self.components = latent_dim, components
        self.rows, self.draw, self.floor = rows, draw, floor
        self.register_buffer("weights", torch.full((components,), 1.0 / components))
        self.register_buffer("means", torch.zeros(components, latent_dim))
        self.register_buffer("factors", torch.eye(latent_dim).repeat(components, 1, 1))

    def finish(self, model: Autoencoder, source: Source) -> None:
        """Fit the mixture to the codes of the rows of ``source``."""
        self.fit(self._codes(model, source))

    def _codes(self, model: Autoencoder, source: Source) -> Tensor:
        count = min(len(source), self.rows)
        index = torch.linspace(0, len(source) - 1, count, dtype=torch.float64).round().long()
        parts = []
        with evaluating(model):
            for some in index.split(_ROWS_AT_ONCE):
                batch = source.batch(some).checked().to(model.device)
                code = model.clean_code(batch)
                if self.draw and isinstance(code, GaussianCode):
                    parts.append(code.draw(1).z[0].cpu())
                else:
                    parts.append(code.z.cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def fit(self, z: Tensor) -> None:
        """Fit the mixture to codes ``(rows, latent_dim)``; the global generator seeds the start.

        Codes of another shape, fewer than there are components, and NaN or infinity are an
        :class:`IsthmusError`.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        if tuple(z.shape[1:]) != (self.latent_dim,):
            raise IsthmusError(
                f"a mixture over {self.latent_dim} latents cannot be fitted to codes of shape "
                f"{tuple(z.shape)}: make it GaussianMixturePrior({z[0].numel()}), over flat codes"
            )
        if len(z) < max(2, self.components):
            raise IsthmusError(
                f"a mixture of {self.components} components cannot be fitted to {len(z)} codes: "
                "use fewer components"
            )
        if not bool(torch.isfinite(z).all()):
            raise IsthmusError(
                "a mixture cannot be fitted, since the codes hold NaN or infinity: lower lr, or "
                "set clip=1"
            )
        seed = int(torch.randint(2**31 - 1, ()))
        mixture = GaussianMixture(self.components, reg_covar=self.floor, random_state=seed)
        with warnings.catch_warnings():
            # EM that has not settled, and fewer distinct codes than components: a mixture all the
            # same, of a likelihood that every step of EM raised.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(z.double().numpy())
        self.weights.copy_(torch.from_numpy(mixture.weights_))
        self.means.copy_(torch.from_numpy(mixture.means_))
        self.factors.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))

    def sample(self, n: int) -> Tensor:
        components = torch.multinomial(self.weights.cpu(), n, replacement=True).to(
            self.means.device
        )
        noise = torch.randn(n, self.latent_dim).to(self.means)
        return self.means[components] + (self.factors[components] @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, ``(..., latent)`` to ``(...)``, in at least float32."""
        z = z if z.dtype == torch.float64 else z.float()
        factors, eye = self.factors.to(z), torch.eye(self.latent_dim).to(z)
        inverse = torch.linalg.solve_triangular(factors, eye.expand_as(factors), upper=False)
        away = torch.einsum("kij,...kj->...ki", inverse, z.unsqueeze(-2) - self.means.to(z))
        scale = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * self.latent_dim * math.log(2 * math.pi)
        each = self.weights.to(z).log() - scale - constant - 0.5 * away.square().sum(-1)
        return each.logsumexp(-1)
