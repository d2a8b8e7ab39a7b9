"""The two-layer sign autoencoder, whose optimum is known."""

import math
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Code, Part, Signal
from isthmus.errors import IsthmusError
from isthmus.networks.layers import plain
from isthmus.objectives import SquaredError
from isthmus.recipes.options import Positive
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float

C1 = math.sqrt(2.0 / math.pi)
"""``E[u sign(u)]`` of a standard normal u, the first Hermite coefficient of the sign."""


# --- closed forms ----------------------------------------------------------------------------


def optimal_risk(rate: float) -> float:
    """The least risk per element of a sign autoencoder on ``N(0, I_d)`` at ``rate`` bits per
    element, as d grows: the share of the variance that is lost.

    ``1 - 2 rate / pi`` up to rate 1, ``1 - rate / (rate + pi/2 - 1)`` above (Shevchenko et al.
    2022). A rate that is not positive is an :class:`IsthmusError`.
    """
    _need_rate(rate)
    if rate <= 1.0:
        return 1.0 - 2.0 * rate / math.pi
    return 1.0 - rate / (rate + math.pi / 2.0 - 1.0)


def optimal_gain(rate: float) -> float:
    """The b of the best ``A = b B^T`` at ``rate`` bits per element (Shevchenko et al. 2022).

    ``c1 = sqrt(2/pi)`` up to rate 1, ``c1 / (c1^2 rate + 1 - c1^2)`` above.
    """
    _need_rate(rate)
    return C1 / (C1**2 * max(rate, 1.0) + 1.0 - C1**2)


def population_risk(A: Any, B: Any, covariance: Any | None = None) -> float:
    """``E|x - A sign(B x)|^2 / d`` for ``x ~ N(0, covariance)``, exactly.

    ``A`` is ``(d, n)`` and ``B`` ``(n, d)``, arrays or tensors; ``covariance`` ``(d, d)`` is the
    identity by default. Rows of ``B`` may have any length but zero. With S the covariance and
    ``s_i^2 = b_i S b_i`` it is ``tr S - 2 c1 tr(A diag(1/s) B S) + tr(A f(R) A^T)``, where R are
    the correlations of ``B x`` and ``f(r) = (2/pi) arcsin r``, divided by d. Shapes that do not
    fit are an :class:`IsthmusError`.
    """
    a, b = _matrix(A), _matrix(B)
    if a.shape != b.shape[::-1]:
        raise IsthmusError(
            f"A of shape {a.shape} and B of shape {b.shape} do not fit: pass (d, n) and (n, d)"
        )
    d = b.shape[1]
    s = np.eye(d) if covariance is None else _matrix(covariance)
    if s.shape != (d, d):
        raise IsthmusError(
            f"a covariance of shape {s.shape} does not fit data of {d} elements: pass ({d}, {d})"
        )
    length = np.sqrt(np.einsum("nd,de,ne->n", b, s, b))
    if not (length > 0).all():
        raise IsthmusError(
            "a row of B gives a pre-activation that is always zero: its sign says nothing, so "
            "leave it out"
        )
    b = b / length[:, None]
    signs = (2.0 / np.pi) * np.arcsin(np.clip(b @ s @ b.T, -1.0, 1.0))
    # A row's correlation with itself is 1 up to rounding, where the arcsine is steepest.
    np.fill_diagonal(signs, 1.0)
    cross = np.einsum("dn,nd->", a, b @ s)
    return float(np.trace(s) - 2.0 * C1 * cross + np.einsum("dn,nm,dm->", a, signs, a)) / d


def weights(model: Autoencoder) -> tuple[np.ndarray, np.ndarray]:
    """``A`` ``(d, n)`` and ``B`` ``(n, d)`` of a fitted sign autoencoder, in the model's units."""
    if not isinstance(model.decoder, TiedDecoder) or not isinstance(model.encoder, UnitRows):
        raise IsthmusError("this is no sign autoencoder: pass a model of the recipe 'sign'")
    b = model.encoder.weight.detach().cpu().double().numpy()
    return float(model.decoder.gain.detach()) * b.T, b


def _need_rate(rate: float) -> None:
    if not rate > 0.0:
        raise IsthmusError(f"rate={rate} must be positive: it is bits per element of x")


def _matrix(values: Any) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 2:
        raise IsthmusError(f"an array of shape {array.shape} is no matrix: pass two axes")
    return array.astype(np.float64)


# --- parts -----------------------------------------------------------------------------------


class _Sign(Function):
    """The sign, 1 at zero, with the gradient of ``tanh(u / tau)``."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, tau: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.tau = tau
        return torch.where(u >= 0, 1.0, -1.0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return gradients[0] * (1.0 - torch.tanh(u / ctx.tau).square()) / ctx.tau, None


class SignBottleneck(nn.Module):
    """One bit for each pre-activation: 1 or -1, with the gradient of ``tanh(u / tau)``."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, h: Float[Tensor, "rows bits"], *, sample: bool = False) -> Code:
        return Code(_Sign.apply(h, self.tau))  # type: ignore[no-untyped-call]


class UnitRows(Part):
    """``B x``; the rows of ``weight`` ``(n, d)`` are brought back to norm 1 after each update."""

    def __init__(self, rows: int, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(rows, d), dim=1))

    def forward(self, x: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows bits"]:
        return F.linear(x.flatten(1), self.weight)

    def after_update(self) -> None:
        self.constrain()

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the rows back to norm 1."""
        self.weight.copy_(F.normalize(self.weight, dim=1))


class TiedDecoder(nn.Module):
    """``b B^T z`` with the B of the model's encoder; ``gain`` is b.

    b starts where the population risk of the random B is least, at ``c1 n / tr(f(B B^T) B B^T)``.
    What is learnt is ``scaled = b sqrt(n)``: the curvature of the loss in b grows with n, and the
    learning rate that suits B would be too large.
    """

    def __init__(self, rows: UnitRows, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.bits, self.shape = len(rows.weight), shape
        gram = rows.weight.detach().double()
        gram = (gram @ gram.T).clamp(-1.0, 1.0)
        overlap = ((2.0 / math.pi) * gram.arcsin() * gram).sum().item()
        self.scaled = nn.Parameter(torch.tensor(C1 * len(gram) ** 1.5 / overlap))

    @property
    def gain(self) -> Tensor:
        """b, a scalar."""
        return self.scaled / self.bits**0.5

    def forward(
        self, z: Float[Tensor, "rows bits"], *, model: Autoencoder
    ) -> Float[Tensor, "rows *shape"]:
        rows = model.part_as("encoder", UnitRows, self)
        return (self.gain * (z @ rows.weight)).unflatten(1, self.shape)


# --- the recipe ------------------------------------------------------------------------------


@recipe(
    "sign",
    family="theory",
    catalogue=8,
    paper="Shevchenko, Koegler, Hassani, Mondelli, Fundamental Limits of Two-layer Autoencoders, "
    "and Achieving Them with Gradient Methods, ICML 2023, arXiv:2212.13468",
    formula="x^ = b B^T sign(B x), rows of B of norm 1,  L = |x - x^|^2;  least risk per element "
    "at r = n/d bits: 1 - 2r/pi (r <= 1), 1 - r/(r + pi/2 - 1) (r > 1)",
    claim="Gradient training of a shallow sign autoencoder reaches the closed-form optimum at "
    "every rate on Gaussian data; whitened natural images follow the same law.",
    training={
        "steps": 2000,
        "lr": 0.02,
        "batch_size": 256,
        "optimiser": "sgd",
        "lr_schedule": "cosine",
        # Never reached on white data; others have a direction of so large a variance that the
        # rate for white data diverges along it.
        "clip": 30.0,
    },
)
def sign(
    signal: Signal,
    *,
    latent_dim: Annotated[
        int | None, Field(gt=0, description="bits n of the code; none: one for each element of x")
    ] = None,
    tau: Annotated[
        Positive, Field(description="width of the tanh whose gradient the sign takes")
    ] = 0.5,
) -> Autoencoder:
    """Compress each example to n bits, the signs of n projections, and decode linearly.

    For Gaussian data the population risk has a closed form (:func:`population_risk`), and so has
    its least value (:func:`optimal_risk`). Up to one bit per element the best B has orthonormal
    rows; above, it is a tight frame, ``B^T B = r I``. The sign has no gradient, so that of
    ``tanh(u / tau)`` takes its place; the decoder is tied to the encoder up to one learnt number;
    and the rows of B are brought back to norm 1 after each step.

    The laws are for white data: ``scaling=auto`` gives the columns of vectors mean 0 and variance
    1 and leaves correlations as they are, so whiten first. There are no biases.

    From the paper: sign, tied and row-normalised weights, stochastic gradient descent with a tanh
    surrogate. tau, the rate and its cosine, the clipping of gradients (which white data never
    reach), the batch of 256 and the length of the run are ours.
    The loss is the squared error summed over the elements, so that one learning rate serves all
    sizes; ``error_per_element`` of :func:`isthmus.evaluate` is the risk per element.
    """
    d = plain(signal).numel
    rows = UnitRows(d if latent_dim is None else latent_dim, d)
    return Autoencoder(
        signal,
        encoder=rows,
        bottleneck=SignBottleneck(tau),
        decoder=TiedDecoder(rows, signal.shape),
        objective=SquaredError(),
    )
