"""The linear variational autoencoder at its optimum, on the rows that agree best with it."""

import math
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, ReportProgress, Signal, Source
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.errors import IsthmusError
from isthmus.likelihoods import LearnedGaussian
from isthmus.networks.layers import plain
from isthmus.objectives import KL, NegativeLogLikelihood
from isthmus.recipes.registry import recipe
from isthmus.training.model_rows import model_rows

LEAST_VARIANCE = 1e-3
"""The least variance of the noise, in the model's units: without it constant rows have no bound."""

ROUNDED = 1 / 12
"""Variance of what rounding to whole numbers does away with, in their own units."""

MOST_LATENTS = 512
"""Latents where their number follows the data: of wider rows the rest is noise."""


MARGIN = 16
"""Directions that are looked for beyond those that the last round needed."""

FEW = 128
"""Columns up to which all directions are computed, whether needed or not."""


class Solved:
    """A centre, directions ``(d, k)`` with their variances, and the variance of the rest.

    ``guess`` is how many directions to look for first, where there are many. ``rounding`` ``(d,)``
    is the variance that each column has beyond the model's, having been rounded.
    """

    def __init__(
        self,
        mean: Tensor,
        covariance: Tensor,
        latents: int | None,
        share: float,
        guess: int = MOST_LATENTS,
        rounding: Tensor | None = None,
    ) -> None:
        size, total = len(covariance), float(covariance.trace())
        most = min(size - 1, MOST_LATENTS if latents is None else latents)
        variances, directions = principal(covariance, min(guess, most))
        if latents is None:
            held = variances.cumsum(0) / max(total, 1e-30)
            if len(variances) < most and float(held[-1]) < share:
                variances, directions = principal(covariance, most)
                held = variances.cumsum(0) / max(total, 1e-30)
            kept = min(int((held < share).sum()) + 1, most)
        else:
            kept = most
        rest = (total - float(variances[:kept].sum())) / (size - kept)
        self.mean, self.noise = mean, max(rest, LEAST_VARIANCE)
        # A direction below the noise carries nothing: its latent stays at the prior.
        kept = min(kept, int((variances > self.noise).sum()))
        self.variances, self.directions = variances[:kept], directions[:, :kept]
        if rounding is not None:
            self._roughen(rounding, latents)

    def _roughen(self, rounding: Tensor, latents: int | None) -> None:
        """Add each column's variance of rounding, in the same form: directions and a rest."""
        size = len(rounding)
        covariance = (self.directions * (self.variances - self.noise)) @ self.directions.T
        covariance += torch.diag(rounding + self.noise)
        most = min(size - 1, MOST_LATENTS if latents is None else latents)
        variances, directions = principal(covariance, most)
        left = float(covariance.trace()) - float(variances.sum())
        self.noise = max(left / (size - most), LEAST_VARIANCE)
        kept = int((variances > self.noise * (1 + 1e-9)).sum())
        self.variances, self.directions = variances[:kept], directions[:, :kept]

    def distance(self, rows: Tensor) -> Tensor:
        """Twice minus log p(x), but for a constant, ``(rows,)``: the Mahalanobis distance."""
        centred = rows - self.mean
        inside = (centred @ self.directions).square()
        rest = (centred.square().sum(1) - inside.sum(1)).clamp_min(0.0)
        return (inside / self.variances).sum(1) + rest / self.noise


def principal(covariance: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The largest ``number`` variances, falling, and their directions ``(d, number)``."""
    size = len(covariance)
    if size <= FEW or number == 0:
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values[size - number :], vectors[:, size - number :]
    else:
        # Only the largest: of wide rows that takes half the time.
        from scipy.linalg import eigh

        eigenpairs = eigh(
            covariance.numpy(), subset_by_index=[size - number, size - 1], driver="evr"
        )
        values, vectors = (torch.from_numpy(np.ascontiguousarray(part)) for part in eigenpairs)
    return values.flip(0).clamp_min(0.0), vectors.flip(1)


class TrimmedSolver:
    """The optimum of the linear VAE on the share of the rows with the highest bound.

    Fits to all rows, keeps the share ``1 - trim`` with the highest bound, fits to these, and so on
    until the same rows are kept or ``rounds`` are over: the concentration steps of the minimum
    covariance determinant, each of which raises the likelihood of the rows kept. All arithmetic is
    in float64.
    """

    draws_nothing = True

    def __init__(self, latents: int | None, share: float, trim: float, rounds: int) -> None:
        self.latents, self.share, self.trim, self.rounds = latents, share, trim, rounds

    def fit(self, model: Autoencoder, source: Source, report: ReportProgress) -> dict[str, float]:
        """Set encoder, decoder and sigma; the figures say what was kept."""
        total = len(source)
        self._rounding = rounding_of(model, source)
        kept = torch.ones(total, dtype=torch.bool)
        count = max(2, total - int(self.trim * total))
        done = 0
        solved = self._solved(model, source, kept)
        while count < total and done < self.rounds:
            report(done, self.rounds, "trimming")
            distances = torch.cat([solved.distance(rows) for rows in chunks(model, source)])
            # By place where distances are equal, so that exactly as many rows are kept.
            subset = torch.zeros_like(kept)
            subset[distances.argsort(stable=True)[:count]] = True
            if torch.equal(subset, kept):
                break
            kept, done = subset, done + 1
            solved = self._solved(model, source, kept, len(solved.variances) + MARGIN)
        report(1, 1, "done")
        install(model, solved)
        return {
            "latents": float(len(solved.variances)),
            "sigma": math.sqrt(solved.noise),
            "rows_kept": float(kept.sum()),
        }

    def _solved(
        self, model: Autoencoder, source: Source, kept: Tensor, guess: int = MOST_LATENTS
    ) -> Solved:
        size = model.signal.numel
        sums, squares = torch.zeros(size).double(), torch.zeros(size, size).double()
        start = 0
        for rows in chunks(model, source):
            kept_rows = rows[kept[start : start + len(rows)]]
            start += len(rows)
            sums += kept_rows.sum(0)
            squares += kept_rows.T @ kept_rows
        number = float(kept.sum())
        mean = sums / number
        covariance = squares / number - torch.outer(mean, mean)
        return Solved(mean, covariance, self.latents, self.share, guess, self._rounding)


def rounding_of(model: Autoencoder, source: Source) -> Tensor | None:
    """The variance of rounding of each column in the model's units, float64 ``(d,)``; None where no
    column is known to be of 0 and 1 alone.

    Such columns are taken for rounded ones, as dequantisation does (Uria, Murray, Larochelle 2013,
    arXiv:1306.0186): the uniform noise that undoes rounding has the variance 1/12. Without it a
    column that the rows kept agree upon, or the values of one word, whose columns add up to 1,
    would have next to no variance, and a gap or a new word would outweigh everything else. A column
    with gaps has, besides, the variance that filling them brings in: their share of its own.
    """
    inner, _ = source.base(torch.arange(0))
    if inner.truths is None or not any(inner.truths):
        return None
    truths = torch.tensor(list(inner.truths))
    scale = model.scaler.scale.detach().double().cpu().expand(truths.shape)
    variance = torch.where(truths, ROUNDED / scale.square(), 0.0)
    flags = [*(inner.fills or {})]
    if flags:
        filled = [(inner.fills or {})[flag] for flag in flags]
        gaps, square, total = torch.zeros(len(flags)).double(), torch.zeros(len(flags)).double(), 0
        offset = model.scaler.offset.detach().double().cpu().expand(truths.shape)
        for rows in chunks(model, source):
            gaps += rows[:, flags].mul(scale[flags]).add(offset[flags]).sum(0)
            square += rows[:, filled].square().sum(0)
            total += len(rows)
        variance[filled] += gaps.clamp_min(0.0) / total * (square / total)
    return variance


def chunks(model: Autoencoder, source: Source) -> Iterator[Tensor]:
    """All rows in the model's units, some at a time, ``(rows, d)`` in float64 on the CPU."""
    return model_rows(model, source, "trimmed-linear-vae")


@torch.no_grad()
def install(model: Autoencoder, solved: Solved) -> None:
    """Write the optimum into the parts; latents beyond those it needs stay at the prior.

    With principal variances l and noise s^2 the decoder is ``V (l - s^2)^(1/2)``, and the exact
    posterior has the mean ``(l - s^2)^(1/2) / l V^T (x - m)`` and the variance ``s^2 / l``
    (Tipping, Bishop 1999, section 3).
    """
    encoder = model.part_as("encoder", Flat, install)
    decoder = model.part_as("decoder", nn.Linear, install)
    width, kept = decoder.in_features, len(solved.variances)
    root = (solved.variances - solved.noise).clamp_min(0.0).sqrt()
    decoder.weight.zero_()
    decoder.weight[:, :kept] = (solved.directions * root).to(decoder.weight)
    decoder.bias.copy_(solved.mean)
    read = (solved.directions * (root / solved.variances)).T
    encoder.linear.weight.zero_()
    encoder.linear.bias.zero_()
    encoder.linear.weight[:kept] = read.to(encoder.linear.weight)
    encoder.linear.bias[:kept] = -(read @ solved.mean).to(decoder.bias)
    encoder.linear.bias[width : width + kept] = (
        (solved.noise / solved.variances).log().to(decoder.bias)
    )
    likelihood = model.part_as("likelihood", LearnedGaussian, install)
    likelihood.log_sigma.fill_(0.5 * math.log(solved.noise))


class Flat(nn.Module):
    """One linear layer of a row's elements."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


@recipe(
    "trimmed-linear-vae",
    family="anomaly",
    paper="Lucas, Tucker, Grosse, Norouzi, Don't Blame the ELBO! A Linear VAE Perspective on "
    "Posterior Collapse, 2019, arXiv:1911.02469; Tipping, Bishop, Probabilistic Principal "
    "Component Analysis, 1999, doi:10.1111/1467-9868.00196; Rousseeuw, Van Driessen, A Fast "
    "Algorithm for the Minimum Covariance Determinant Estimator, 1999, "
    "doi:10.1080/00401706.1999.10485670",
    formula="max over W, m, s, q and the rows kept: sum over these of E_q[log N(x; W z + m, s^2 I)]"
    " - KL(q(z|x) || N(0,I));  score of x: the same bound, which is log N(x; m, W W^T + s^2 I)",
    claim="A linear variational autoencoder has no other optimum than probabilistic PCA, where its "
    "bound is the log-likelihood.",
    kinds=("vector",),
    solved=True,
)
def trimmed_linear_vae(
    signal: Signal,
    *,
    latent_dim: Annotated[
        int | None, Field(gt=0, description="number of latents; none: as many as hold `variance`")
    ] = None,
    variance: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="share of the variance that the latents hold, where their number is none",
        ),
    ] = 0.95,
    trim: Annotated[
        float, Field(ge=0, lt=1, description="share of the rows that the fit leaves out")
    ] = 0.4,
    rounds: Annotated[int, Field(gt=0, description="most rounds of trimming")] = 5,
) -> Autoencoder:
    """A linear variational autoencoder in closed form, fitted to the rows that agree best.

    The recipe that the documentation recommends for anomalies in tables. Its bound needs no
    training to be reached: the optimum is probabilistic PCA, and the bound there is the
    log-likelihood, which counts what lies outside the principal subspace by the noise's variance
    and what lies far out within it by the variance there. Anomalies among the rows that it is
    fitted to would bend it towards themselves: the share ``trim`` of the rows with the lowest
    bound is left out, and chosen anew after each fit. ``score`` says how normal a row is, in nats,
    ``drivers`` which columns speak against it. It takes milliseconds, and draws nothing.

    Published: the model and its optimum (``trim=0``), and the rounds of trimming, for a full
    covariance. That the two are put together, the share trimmed, the share of the variance and the
    least variance of the noise (0.001 in the model's units) are ours, and so is the variance of
    rounding, 1/12 in its own units, that each 0/1 column of a table's words, gaps and truth values
    has besides, and that which filled gaps bring into a column: a new word or a gap costs some
    nats, however well the other rows agree. The variances are those of the rows kept, and so a
    little smaller than those of all normal rows. Where ``latent_dim`` is not given there are as
    many as columns (512 at most), of which those not needed stay 0.
    """
    size = plain(signal).numel
    width = min(max(1, size - 1), MOST_LATENTS) if latent_dim is None else latent_dim
    if width >= size > 1:
        raise IsthmusError(
            f"latent_dim={latent_dim} is no compression of {size} columns: choose at most "
            f"{size - 1}"
        )
    return Autoencoder(
        signal,
        encoder=Flat(size, 2 * width),
        bottleneck=GaussianBottleneck(),
        decoder=nn.Linear(width, size),
        objective=NegativeLogLikelihood() + KL(),
        likelihood=LearnedGaussian(),
        prior=StandardNormal(width),
        solver=TrimmedSolver(latent_dim, variance, trim, rounds),
    )
