"""The ARD-VAE, whose prior variances follow the data and show which latents are needed."""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus.anatomy import (
    Array,
    Autoencoder,
    Clock,
    Code,
    Gaussian,
    GaussianCode,
    Look,
    Output,
    Prior,
    Signal,
    Source,
    Step,
    Term,
    evaluating,
    expect,
)
from isthmus.bottlenecks import GaussianBottleneck
from isthmus.errors import IsthmusError
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import SquaredError, kl_to_standard_normal
from isthmus.objectives.divergence import gaussian
from isthmus.recipes.options import Hidden, Network, OwnModule, SurplusDim
from isthmus.recipes.registry import recipe

REFRESHES = 10
"""The prior is refreshed at least so often in a run, which may be shorter than as many epochs."""

_ROWS_AT_ONCE = 1024


# --- the prior -------------------------------------------------------------------------------


class RelevancePrior(Prior):
    """The prior N(0, diag(v)) whose variances ``v`` ``(latent,)`` follow the codes.

    The precisions have Gamma(a0, b0) priors with a0 = b0 = 0, so that, given n draws z, their
    posterior has a = n/2 and b_l = sum z_l^2 / 2, and ``v_l = b_l / a`` is the mean of z_l^2: the
    scale of the Student-t that the prior then is, close to N(0, v_l) for large n (Saha et al.
    2025).

    The variances are set from ``draws`` rows of the sample before the first step, and then once
    an epoch from the draws of the last ``draws`` rows of that epoch (of all, where it has fewer).
    No gradient passes through them. Everything is in buffers, so that a resumed run goes on with
    the same bits.
    """

    variance: Tensor
    squares: Tensor
    counted: Tensor

    def __init__(self, latent_dim: int, draws: int) -> None:
        super().__init__()
        self.draws = draws
        self.register_buffer("variance", torch.ones(latent_dim))
        self.register_buffer("squares", torch.zeros(latent_dim, dtype=torch.float64))
        self.register_buffer("counted", torch.zeros((), dtype=torch.int64))
        self._due = False

    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Set the variances by the untrained encoder."""
        x = look.tensor
        with evaluating(model):
            for part in x[_spread(len(x), self.draws).to(x.device)].split(_ROWS_AT_ONCE):
                self._add(gaussian_code(model, part).draw(1).z[0])
        self._refresh()

    def observe(self, out: Output, step: Step) -> None:
        """Keep the draws of the last rows of an epoch."""
        period = self.period(step.clock)
        left = period - step.clock.step % period
        if left <= math.ceil(self.draws / max(1, step.clock.rows_per_step)):
            self._add(gaussian(out).z)
        self._due = left == 1

    def period(self, clock: Clock) -> int:
        """Steps between two refreshes: an epoch, or a tenth of a run of fewer than ten epochs."""
        epoch = clock.rows // max(1, clock.rows_per_step)
        return max(1, min(epoch, clock.total // REFRESHES))

    def after_update(self) -> None:
        """Refresh the variances where an epoch has ended."""
        if self._due:
            self._refresh()
            self._due = False

    @torch.no_grad()
    def _add(self, z: Tensor) -> None:
        self.squares += z.double().square().sum(0)
        self.counted += len(z)

    @torch.no_grad()
    def _refresh(self) -> None:
        self.variance.copy_(self.squares / self.counted)
        self.squares.zero_()
        self.counted.zero_()

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, len(self.variance)).to(self.variance) * self.variance.sqrt()

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, ``(..., latent)`` to ``(...)``."""
        variance = self.variance
        return -0.5 * (z.square() / variance + (2 * math.pi * variance).log()).sum(-1)

    def kl(self, mean: Tensor, logvar: Tensor) -> Tensor:
        variance = self.variance.to(mean)
        mean, logvar = mean / variance.sqrt(), logvar - variance.log()
        return kl_to_standard_normal(GaussianCode(mean, mean, logvar)).sum(-1)


class RelevanceKL(Term):
    """KL divergence of the Gaussian posterior from N(0, diag(v)), v the prior's variances.

    ``1/2 sum_l [(mu_l^2 + s_l^2) / v_l - 1 - log(s_l^2 / v_l)]`` (Saha et al. 2025).
    """

    name = "kl"
    unit = "nats"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code, prior = gaussian(out), expect(model.prior, RelevancePrior, "prior", self)
        # In units of the prior's standard deviations the prior is N(0, I).
        variance = prior.variance
        mean, logvar = code.mean / variance.sqrt(), code.logvar - variance.log()
        return kl_to_standard_normal(GaussianCode(mean, mean, logvar)).sum(1)


# --- which latents are needed ----------------------------------------------------------------


def relevance(model: Autoencoder, X: Array | Source, *, rows: int = 1000) -> Tensor:
    """How much each latent matters: ``v_l`` times the mean of ``|d decoder / d z_l|^2``.

    The derivative is that of the reconstruction, in the model's units, at the posterior means of
    at most ``rows`` rows of ``X`` (in the user's units), taken evenly; its square is summed over
    the elements. ``v_l`` is the prior variance that an ARD-VAE estimated; for any other model with
    a Gaussian code it is the mean of z_l^2 under the posteriors of the same rows. The result is
    ``(latent,)``, float64, in squared units of the reconstruction: by how much, to first order,
    latent l moves it. Saha et al. 2025.

    Raises :class:`IsthmusError` for a model without a decoder or without a Gaussian code.
    """
    if model.decoder is None:
        raise IsthmusError(
            "this model has no decoder, and relevance is what a latent does to the reconstruction: "
            "use a model that rebuilds"
        )
    index = _spread(len(X), rows)
    if isinstance(X, (np.ndarray, Tensor)):
        subset = X[index.numpy()] if isinstance(X, np.ndarray) else X[index]
    else:
        subset = X.rows(index)
    slopes, squares = [], []
    with evaluating(model):
        for batch in model.batches(subset, _ROWS_AT_ONCE):
            code = gaussian_code(model, model.scaler(batch.x))
            squares.append((code.mean.square() + code.logvar.exp()).double().cpu())
            slopes.append(_slopes(model, code.mean).cpu())
    held = model.prior.variance if isinstance(model.prior, RelevancePrior) else None
    variance = torch.cat(squares).mean(0) if held is None else held.double().cpu()
    return variance * torch.cat(slopes).mean(0)


def relevant_axes(relevances: Array, share: float = 0.99) -> Tensor:
    """The fewest latents that hold ``share`` of the sum of the relevances, the largest first.

    ``relevances`` is ``(latent,)``; the result is int64. Their number is the dimension that the
    model found. A share outside (0, 1] is an :class:`IsthmusError`.
    """
    if not 0.0 < share <= 1.0:
        raise IsthmusError(f"share={share:g} is no part of a whole: choose a number in (0, 1]")
    values, order = torch.as_tensor(relevances).double().sort(descending=True)
    reached = values.cumsum(0)
    # Not >= share * sum: with share=1 rounding would decide whether the last latents count.
    before = torch.cat([reached.new_zeros(1), reached[:-1]])
    return order[(before < share * values.sum()) & (values > 0)]


def gaussian_code(model: Autoencoder, x: Tensor) -> GaussianCode:
    """The deterministic code of rows ``x`` in the model's units, which must be Gaussian."""
    code = model.clean_code(x)
    if not isinstance(code, GaussianCode):
        raise IsthmusError(
            f"a {type(code).__name__} has no posterior variances: use a variational autoencoder"
        )
    return code


@torch.enable_grad()
def _slopes(model: Autoencoder, z: Tensor) -> Tensor:
    """Squared length of the reconstruction's derivative by each latent, ``(rows, latent)``."""
    z = z.detach().requires_grad_()
    # The product with the transposed Jacobian is linear in ``along``, and its derivative by it is
    # the Jacobian: one decoding serves all latents. Fused attention has no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        decoded = model.likelihood.mean(model.decode_code(Code(z)))
        along = torch.zeros_like(decoded, requires_grad=True)
        (back,) = torch.autograd.grad(decoded, z, along, create_graph=True)
        columns = []
        for latent in range(z.shape[1]):
            direction = torch.zeros_like(z)
            direction[:, latent] = 1.0
            (moved,) = torch.autograd.grad(back, along, direction, retain_graph=True)
            columns.append(moved.double().square().flatten(1).sum(1))
    return torch.stack(columns, 1)


def _spread(total: int, most: int) -> Tensor:
    """At most ``most`` row numbers, evenly over ``total``: data are often sorted."""
    return torch.linspace(0, total - 1, min(total, most)).round().long()


# --- the recipe ------------------------------------------------------------------------------


@recipe(
    "ard-vae",
    family="variational",
    catalogue=214,
    paper="Saha, Joshi, Whitaker, ARD-VAE: A Statistical Formulation to Find the Relevant Latent "
    "Dimensions of Variational Autoencoders, WACV 2025, arXiv:2501.10901",
    formula="L = |x - x^|^2 + beta (1/2) sum_l [(mu_l^2 + s_l^2) / v_l - 1 - log(s_l^2 / v_l)],  "
    "v_l = mean z_l^2 over n draws, once per epoch;  relevance_l = v_l mean |d x^ / d z_l|^2",
    claim="Letting the prior variances follow the data makes the VAE use, and reveal, only the "
    "latents that it needs, whatever their number was set to, without loss of quality.",
    training={"epochs": 50, "lr": 5e-4, "batch_size": 100},
)
def ard_vae(
    signal: Signal,
    *,
    latent_dim: SurplusDim = 128,
    beta: Annotated[float, Field(gt=0, description="weight of the KL divergence")] = 0.5,
    draws: Annotated[
        int, Field(gt=0, description="draws n of the code that the prior variances come from")
    ] = 10_000,
    network: Network = "auto",
    hidden: Hidden = None,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """A variational autoencoder whose prior variances are estimated from its own codes.

    Automatic relevance determination: each latent has a prior N(0, v_l) whose precision has a
    vague Gamma prior. Given n draws of the code its posterior is known in closed form, and v_l
    is the mean of z_l^2. What a latent costs is then the information it carries, at whatever
    scale: no latent is pulled to unit variance, and one that is not worth its cost ends with
    posteriors equal to its prior, and a decoder that does not listen to it. Which latents remain
    is read off after training: ``relevance`` weighs v_l, which alone does not tell, by the mean
    squared derivative of the decoder, and ``relevant_axes`` returns the fewest latents that hold
    99 % of it. Take more latents than you expect to need, and enough steps for the others to fade.

    Published: squared error summed over the elements; beta 0.5 with 128 latents on MNIST (the
    defaults), 0.05 with 256 on CIFAR-10, 3 with 64 on CelebA; n = 10,000; Adam at 5e-4, batches
    of 100, 50 passes (100 on CIFAR-10). Other than published: the draws are those of the last
    10,000 training rows of an epoch, where the paper encodes 10,000 rows that sit out the epoch
    after which it refreshes (before the first step the two agree), so that small data lose no
    rows; runs of fewer than ten epochs refresh the prior ten times; the learning rate
    is constant, where the paper halves it when the validation loss has not fallen for ten
    epochs; the networks are the library's own for the signal, without batch normalisation.

    The loss is beta times the negative ELBO of a Gaussian likelihood with variance beta / 2, which
    is the model's, so that bounds on log p(x) are those of what was trained.
    """
    return Autoencoder(
        signal,
        encoder=encoder or encoder_for(signal, 2 * latent_dim, network, hidden=hidden),
        bottleneck=GaussianBottleneck(),
        decoder=decoder or decoder_for(signal, latent_dim, network, hidden=hidden),
        objective=SquaredError() + beta * RelevanceKL(),
        likelihood=Gaussian(math.sqrt(beta / 2)),
        prior=RelevancePrior(latent_dim, draws),
    )
