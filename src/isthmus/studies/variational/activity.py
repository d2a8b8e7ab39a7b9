"""Kinds of latents by how much they are used, and the Gaussian total correlation of codes."""

from dataclasses import dataclass

import numpy as np

PASSIVE_MEAN, ACTIVE_MEAN, STEADY = 0.1, 0.1, 0.1
"""Bounds on the posterior variances of passive and active latents (Bonheme, Grzes 2021)."""


@dataclass(frozen=True)
class Kinds:
    """Numbers of the latents of each kind."""

    active: np.ndarray
    mixed: np.ndarray
    passive: np.ndarray


def kinds_of_latents(logvar: np.ndarray) -> Kinds:
    """Sort latents by the posterior variances ``exp(logvar)``, ``(rows, latents)``.

    Passive: their mean over rows is within 0.1 of the prior's 1, and their own variance below 0.1;
    active: the mean is at most 0.1, and the variance below 0.1; mixed: all others, which are used
    for some rows only. Bonheme, Grzes 2021 (arXiv:2109.12679).
    """
    variances = np.exp(np.asarray(logvar, np.float64))
    mean, steady = variances.mean(0), variances.var(0) < STEADY
    passive = steady & (np.abs(mean - 1.0) <= PASSIVE_MEAN)
    active = steady & (mean <= ACTIVE_MEAN)
    mixed = ~(passive | active)
    return Kinds(np.flatnonzero(active), np.flatnonzero(mixed), np.flatnonzero(passive))


def correlation(codes: np.ndarray) -> np.ndarray:
    """Pearson's correlations of codes ``(rows, latents)``, ``(latents, latents)``.

    Latents that do not vary correlate with nothing.
    """
    centred = codes - codes.mean(0)
    deviation = np.sqrt(np.square(centred).mean(0))
    moves = deviation > 1e-12 * np.maximum(1.0, np.abs(codes).max(0))
    scaled = np.where(moves, centred / np.where(moves, deviation, 1.0), 0.0)
    coefficients: np.ndarray = scaled.T @ scaled / len(codes)
    np.fill_diagonal(coefficients, 1.0)
    return coefficients


def total_correlation(codes: np.ndarray) -> float:
    """``-1/2 log det`` of the correlations: the total correlation in nats if they were Gaussian.

    ``(rows, latents)``; 0 for fewer than two latents.
    """
    if codes.shape[1] < 2:
        return 0.0
    return float(-0.5 * np.linalg.slogdet(correlation(codes))[1])
