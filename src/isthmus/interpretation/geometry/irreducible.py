"""Is a plane of activations one feature of two dimensions, or several of one?"""

from dataclasses import dataclass

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation import Result

ANGLES = 100
BINS = 10
NEAR = 0.1
"""epsilon of the mixture index."""
OFFSETS = 200
"""Offsets that the mixture index tries for each angle."""


@dataclass(frozen=True)
class Irreducibility:
    """Both indices of one plane, and ``score``, (1 - mixture) times separability in bits."""

    separability: Result
    mixture: Result

    @property
    def score(self) -> float:
        """High for what is neither two independent parts nor a mixture."""
        return (1.0 - self.mixture.value) * self.separability.value


def irreducibility(points: Array) -> Irreducibility:
    """:func:`separability` and :func:`mixture` of the points ``(rows, 2)`` of a plane."""
    return Irreducibility(separability(points), mixture(points))


def separability(points: Array, *, angles: int = ANGLES, bins: int = BINS) -> Result:
    """The least mutual information, in bits, of the coordinates of a plane over its rotations.

    The separability index of Engels, Michaud, Liao, Gurnee & Tegmark (2024, Not All Language Model
    Features Are Linear, definition 6), with the estimator of their experiments: a histogram of
    ``bins`` by ``bins`` cells of equal width over the range of each rotated coordinate. Zero where
    some rotation makes the coordinates independent; the estimate is then near (bins - 1)² / (2 n
    ln 2), its bias. ``per`` is the information at each of ``angles`` angles in [0, pi / 2), which
    is their period, from the principal axes on. ``points`` is ``(rows, 2)``; fewer than two rows,
    NaN and infinity are an :class:`IsthmusError`.
    """
    plane = _plane(points)
    information = np.empty(angles)
    for i, angle in enumerate(np.arange(angles) * (np.pi / 2 / angles)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        information[i] = _information(plane @ turn, bins)
    how = f"least of {angles} rotations; plug-in estimate, {bins} x {bins} bins; no interval"
    value = float(information.min())
    return Result("separability", value, None, None, len(plane), how, "bits", information)


def mixture(points: Array, *, near: float = NEAR, angles: int = ANGLES) -> Result:
    """The largest share of rows that lie near one line of the plane.

    The epsilon-mixture index of Engels et al. (2024, definition 7): the maximum over directions v
    and offsets c of the share of rows with ``|v.f + c| < near * rms(v.f + c)``. High where the
    feature is absent, or one-dimensional, in most rows. Where they ascend a gradient, here all of
    ``angles`` directions in [0, pi), the principal axes among them, and 201 offsets of each, within
    twice the range of the rows, are tried: the value is a lower bound, and the same each time.
    ``per`` is the best share of each direction. Errors as for :func:`separability`.
    """
    plane = _plane(points)
    # A direction without any variance is near itself everywhere, whatever the scale of its noise.
    floor = 1e-9 * np.sqrt((plane**2).sum(1).mean())
    shares = np.empty(angles)
    for i, angle in enumerate(np.arange(angles) * (np.pi / angles)):
        along = np.sort(plane @ np.array([np.cos(angle), np.sin(angle)]))
        reach = np.abs(along).max()
        offsets = np.linspace(-2.0, 2.0, OFFSETS + 1) * reach
        width = near * np.sqrt((along**2).mean() + offsets**2) + floor
        inside = np.searchsorted(along, offsets + width) - np.searchsorted(along, offsets - width)
        shares[i] = inside.max() / len(along)
    how = f"largest of {angles} directions and {OFFSETS + 1} offsets, epsilon {near:g}; no interval"
    value = float(shares.max())
    return Result("mixture", value, None, None, len(plane), how, "fraction", shares)


def _information(plane: np.ndarray, bins: int) -> float:
    """Mutual information of two binned coordinates, in bits."""
    cells = np.zeros(len(plane), np.int64)
    for coordinate in plane.T:
        low, high = coordinate.min(), coordinate.max()
        share = (coordinate - low) / (high - low) if high > low else np.zeros(len(coordinate))
        cells = bins * cells + np.minimum((bins * share).astype(np.int64), bins - 1)
    joint = np.bincount(cells, minlength=bins * bins).reshape(bins, bins) / len(plane)
    apart = np.outer(joint.sum(1), joint.sum(0))
    on = joint > 0
    return float((joint[on] * np.log2(joint[on] / apart[on])).sum())


def _plane(points: Array) -> np.ndarray:
    plain = points if isinstance(points, np.ndarray) else points.detach().cpu().numpy()
    plane = np.asarray(plain, np.float64)
    if plane.ndim != 2 or plane.shape[1] != 2 or len(plane) < 2:
        raise IsthmusError(
            f"the points have the shape {plane.shape}: pass (rows, 2), two rows or more"
        )
    if not np.isfinite(plane).all():
        raise IsthmusError("the points contain NaN or infinity: drop these rows first")
    centred = plane - plane.mean(0)
    # A line is only seen to be one where an angle that is tried lies exactly across it.
    axes = np.linalg.eigh(centred.T @ centred)[1]
    aligned: np.ndarray = centred @ axes
    return aligned
