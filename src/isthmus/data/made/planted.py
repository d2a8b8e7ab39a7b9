"""Made data with known truth: sparse combinations of planted directions."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Signal, Source
from isthmus.data.made import counter
from isthmus.errors import IsthmusError, unknown

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Frequencies = Literal["uniform", "log", "zipf"]
Magnitudes = Literal["constant", "uniform", "exponential", "lognormal"]
Geometry = Literal["random", "repelled", "orthogonal"]

LOG_RATIO = 20.0
"""Highest over lowest firing frequency of the profile "log"."""

FOLLOW = 0.5
"""Probability that a child of a tree fires when its parent does."""

_FIRE, _SIZE, _NOISE = 1, 2, 3


class Planted:
    """``x = c @ directions + bias + noise``, with sparse coefficients ``c`` of known truth.

    width, truths
        Elements of a row, and number of planted unit directions.
    active
        Mean number of truths that fire in a row. Truths fire independently of each other, apart
        from the tree.
    frequencies
        How often each truth fires: "uniform", "log" (log-spaced over a ratio of 20), "zipf"
        (proportional to 1 / rank), scaled to ``active``; or an array ``(truths,)`` of
        probabilities, which is taken as it is.
    magnitudes
        The size of a coefficient that fires, times ``scale`` (a number, or one per truth):
        "constant" 1, "uniform" on [0.5, 1.5], a pair ``(low, high)`` for uniform on it,
        "exponential" of mean 1, or "lognormal" of median 1 and log standard deviation 0.5.
    noise
        Standard deviation of the Gaussian noise on each element.
    bias
        Norm of a random offset that all rows share, or the offset ``(width,)`` itself.
    tree
        Parents: a truth fires only when its parent does. An integer is a branching, for a forest
        of three levels in which a child follows its parent with probability one half (the
        profile of ``frequencies`` then holds among the roots). An array ``(truths,)`` names each
        truth's parent, an earlier one, or -1; then an array of frequencies are the truths' own,
        and no child's may exceed its parent's.
    geometry
        "random" unit directions, "repelled" ones (pushed apart by gradient steps on the sum of
        the fourth powers of their cosines), or "orthogonal" ones.

    ``directions`` is ``(truths, width)``, ``frequencies`` the probabilities ``(truths,)`` that
    each truth fires, ``parents`` is ``(truths,)``. Every row is a function of the seed and the
    row's number alone.
    """

    def __init__(
        self,
        width: int = 64,
        truths: int = 512,
        active: float = 8.0,
        *,
        frequencies: Frequencies | Sequence[float] | np.ndarray = "uniform",
        magnitudes: Magnitudes | tuple[float, float] = "uniform",
        scale: float | np.ndarray = 1.0,
        noise: float = 0.0,
        bias: float | np.ndarray = 0.0,
        tree: int | Sequence[int] | np.ndarray | None = None,
        geometry: Geometry = "random",
        seed: int = 0,
    ) -> None:
        for name, size in (("width", width), ("truths", truths)):
            if size < 1:
                raise IsthmusError(f"planted data need a {name} of at least 1, not {size}")
        if noise < 0 or active <= 0 or seed < 0:
            raise IsthmusError(
                "planted data need active above zero, and noise and seed of at least zero"
            )
        self.width, self.truths, self.noise, self.seed = width, truths, float(noise), seed
        self.scale = np.broadcast_to(np.asarray(scale, np.float64), (truths,))
        if isinstance(magnitudes, str) and magnitudes not in _INVERSE:
            raise unknown("magnitude distribution", magnitudes, _INVERSE)
        self.magnitudes = magnitudes
        rng = np.random.default_rng([seed, 0])
        self.directions = _directions(width, truths, geometry, rng)
        self.bias = _bias(bias, width, rng)
        self.parents = _parents(tree, truths)
        self._levels = _levels(self.parents)
        self.frequencies = _frequencies(frequencies, active, self.parents, self._levels)
        limits = np.where(self.parents < 0, 1.0, self.frequencies[self.parents])
        if (self.frequencies > limits * (1 + 1e-12)).any():
            worst = int((self.frequencies - limits).argmax())
            raise IsthmusError(
                f"truth {worst} would have to fire with probability {self.frequencies[worst]:.3g}, "
                f"but at most {limits[worst]:.3g} is possible: lower active or the frequencies"
            )
        self._threshold = counter.threshold(self.frequencies / np.maximum(limits, 1e-300))

    def sample(self, n: int, seed: int = 0) -> tuple[np.ndarray, "csr_array"]:
        """Rows ``(n, width)`` and their coefficients ``(n, truths)``, sparse, both float32.

        The rows are the first ``n`` of the endless stream that ``seed`` names.
        """
        return self.at(np.arange(n), seed)

    def at(self, index: np.ndarray, seed: int = 0) -> tuple[np.ndarray, "csr_array"]:
        """The rows of those numbers (any, in any order) of the stream ``seed``, as `sample`."""
        row = np.asarray(index, np.int64)[:, None]
        stream = 4 * seed
        column = np.arange(self.truths)
        fires = counter.bits(self.seed, stream + _FIRE, row, column) < self._threshold
        for level in self._levels[1:]:
            fires[:, level] &= fires[:, self.parents[level]]
        from scipy.sparse import csr_array

        at, which = np.nonzero(fires)
        share = counter.uniform(counter.bits(self.seed, stream + _SIZE, row[at, 0], which))
        values = (self._magnitude(share) * self.scale[which]).astype(np.float32)
        starts = np.concatenate([[0], fires.sum(1).cumsum()])
        coefficients = csr_array((values, which, starts), shape=(len(row), self.truths))
        x = coefficients @ self.directions + self.bias
        if self.noise:
            random = counter.bits(self.seed, stream + _NOISE, row, np.arange(self.width))
            x += (self.noise * counter.normal(random)).astype(np.float32)
        return x, coefficients

    def _magnitude(self, share: np.ndarray) -> np.ndarray:
        if isinstance(self.magnitudes, str):
            return _INVERSE[self.magnitudes](share)
        low, high = self.magnitudes
        return low + (high - low) * share


class PlantedSource(Source):
    """``rows`` rows of planted data, made when asked for: no memory, any row in any order.

    Two sources of one :class:`Planted` with different ``seed`` share the truth, not the rows.
    """

    signal: Signal

    def __init__(self, planted: Planted, rows: int, seed: int = 0) -> None:
        if rows < 1:
            raise IsthmusError(f"a source needs at least one row, not {rows}")
        self.planted = planted
        self.seed = seed
        self.signal = Signal("vector", (planted.width,))
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def rows(self, index: Tensor) -> Tensor:
        """Float32 rows ``(len(index), width)``."""
        return torch.from_numpy(self.planted.at(self._checked(index), self.seed)[0])

    def coefficients(self, index: Tensor) -> "csr_array":
        """The coefficients behind those rows, ``(len(index), truths)``."""
        return self.planted.at(self._checked(index), self.seed)[1]

    def _checked(self, index: Tensor) -> np.ndarray:
        rows = index.numpy()
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IsthmusError(
                f"the source has the rows 0 to {len(self) - 1}: ask for one of these"
            )
        return rows


# Inverse distribution functions: one uniform number makes one magnitude.
_INVERSE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "constant": lambda share: np.ones_like(share),
    "uniform": lambda share: 0.5 + share,
    "exponential": lambda share: -np.log1p(-share),
    "lognormal": lambda share: np.exp(0.5 * counter.inverse_normal(share)),
}


def _directions(width: int, truths: int, geometry: str, rng: np.random.Generator) -> np.ndarray:
    geometries = ("random", "repelled", "orthogonal")
    if geometry not in geometries:
        raise unknown("geometry", geometry, geometries)
    rows = rng.standard_normal((truths, width))
    if geometry == "orthogonal":
        if truths > width:
            raise IsthmusError(
                f"{truths} directions cannot be orthogonal in width {width}: use at most {width}"
            )
        rows = np.linalg.qr(rows.T)[0].T
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if geometry == "repelled":
        rows = _repelled(rows)
    return rows.astype(np.float32)


def _repelled(rows: np.ndarray, steps: int = 100, rate: float = 0.2) -> np.ndarray:
    """Gradient steps on the sum of fourth powers of cosines, at a falling rate."""
    for step in range(steps):
        cosines = rows @ rows.T
        np.fill_diagonal(cosines, 0.0)
        gradient = cosines**3 @ rows
        largest = np.linalg.norm(gradient, axis=1).max()
        if largest == 0:
            break
        rows = rows - rate * (1 - step / steps) * gradient / largest
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _bias(bias: float | np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    draw = rng.standard_normal(width)
    if np.ndim(bias) == 0:
        return (draw * (bias / np.linalg.norm(draw))).astype(np.float32)
    array = np.asarray(bias, np.float32)
    if array.shape != (width,):
        raise IsthmusError(f"the bias has the shape {array.shape}: pass ({width},) or a number")
    return array


def _parents(tree: int | Sequence[int] | np.ndarray | None, truths: int) -> np.ndarray:
    number = np.arange(truths)
    if tree is None:
        return np.full(truths, -1)
    if isinstance(tree, (int, np.integer)):
        if tree < 1:
            raise IsthmusError(f"a tree needs a branching of at least 1, not {tree}")
        roots = max(1, truths // (1 + tree + tree * tree))
        # Any remainder joins the third level's parents, one more child each, so the depth stays.
        parents = np.where(number < roots, -1, (number - roots) // tree)
        last = min(truths, roots * (1 + tree))
        over = number >= roots * (1 + tree)
        second = max(1, last - roots)
        parents[over] = roots + (number[over] - roots * (1 + tree)) % second
        return parents
    parents = np.asarray(tree)
    if parents.shape != (truths,) or not np.issubdtype(parents.dtype, np.integer):
        raise IsthmusError(f"a tree needs the parent of each of {truths} truths, or a branching")
    if (parents >= number).any() or (parents < -1).any():
        raise IsthmusError("a truth's parent must be an earlier truth, or -1: reorder the tree")
    return parents


def _levels(parents: np.ndarray) -> list[np.ndarray]:
    """The truths by depth, roots first."""
    levels = [np.flatnonzero(parents < 0)]
    while (below := np.flatnonzero(np.isin(parents, levels[-1]))).size:
        levels.append(below)
    return levels


def _frequencies(
    profile: str | Sequence[float] | np.ndarray,
    active: float,
    parents: np.ndarray,
    levels: list[np.ndarray],
) -> np.ndarray:
    """The probability that each truth fires, ``(truths,)``."""
    if not isinstance(profile, str):
        array = np.asarray(profile, np.float64)
        if array.shape != parents.shape or not ((array >= 0) & (array <= 1)).all():
            raise IsthmusError(
                f"frequencies need one probability for each of {len(parents)} truths, from 0 to 1"
            )
        return array
    roots = len(levels[0])
    profiles = {
        "uniform": np.ones(roots),
        "log": np.geomspace(LOG_RATIO, 1.0, roots),
        "zipf": 1.0 / np.arange(1, roots + 1),
    }
    if profile not in profiles:
        raise unknown("frequency profile", profile, profiles)
    frequencies = np.zeros(len(parents))
    frequencies[levels[0]] = profiles[profile]
    for level in levels[1:]:
        frequencies[level] = FOLLOW * frequencies[parents[level]]
    return frequencies * (active / frequencies.sum())
