"""Sprites with known factors of variation, after dSprites."""

from math import pi, prod

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Signal, Source
from isthmus.errors import IsthmusError

FACTOR_NAMES = ("shape", "scale", "orientation", "position_x", "position_y")
FACTOR_SIZES = (3, 6, 40, 32, 32)
SHAPES = ("square", "ellipse", "heart")

# All lengths are in pixels of a 64-pixel frame, at scale 1.
_FRAME = 64.0
_HALF_SIDE = 9.6
_SEMI_AXES = (12.77, 7.21)
_FIRST, _SPAN = 16.0, 32.0  # centres, from the frame's edge
_HEART_LIFT = 1.0
# Radii of the heart's outline around the point one pixel above the centre of rotation, at 0, 6,
# ..., 180 degrees from the tip (pointing down) to the notch; the heart is symmetric.
_HEART = np.array([
    10.13, 8.74, 7.93, 7.38, 7.07, 6.80, 6.70, 6.63, 6.67, 6.76, 6.90, 7.15, 7.43, 7.82, 8.24,
    8.78, 9.25, 9.71, 10.11, 10.37, 10.58, 10.62, 10.56, 10.41, 10.10, 9.62, 9.02, 8.12, 7.04,
    5.69, 4.13,
])  # fmt: skip
_REACH = 13.0  # no shape reaches further from its centre


class Sprites(Source):
    """A source of 737,280 binary images with five known factors, in the manner of dSprites.

    Every combination of 3 shapes (square, ellipse, heart), 6 scales (0.5 to 1), 40 orientations
    (0 to 2 pi, both ends included as in the original, so the first and the last look alike) and
    32 x 32 positions is one row; the last factor varies fastest. Turns are counterclockwise on
    the screen. Rows are rendered when asked for: a row depends on its number alone.

    ``size`` is the side of the images in pixels; everything scales with it. At size 64 the
    rendering agrees with the 320 frames of the original animation (deepmind/dsprites-dataset,
    whose sequence of factors it steps through) to an intersection over union of 0.999 in the
    mean and 0.989 in the worst frame.

    Source: Matthey, Higgins, Hassabis, Lerchner 2017, dSprites.
    """

    signal: Signal
    factor_names = FACTOR_NAMES
    factor_sizes = FACTOR_SIZES

    def __init__(self, size: int = 64) -> None:
        if size < 16:
            raise IsthmusError(f"sprites of {size} pixels lose their shapes: use at least 16")
        self.size = size
        self.signal = Signal("image", (1, size, size), "float32", 0.0, 1.0)

    def __len__(self) -> int:
        return prod(FACTOR_SIZES)

    def factors(self, index: Tensor) -> Tensor:
        """The factors' levels ``(len(index), 5)``, int64, each from 0 to its size less one."""
        levels = np.unravel_index(self._checked(index), FACTOR_SIZES)
        return torch.from_numpy(np.stack(levels, 1))

    def index(self, factors: Tensor) -> Tensor:
        """Row numbers ``(n,)`` of the levels ``(n, 5)``: the inverse of :meth:`factors`."""
        try:
            rows = np.ravel_multi_index(tuple(factors.numpy().T), FACTOR_SIZES)
        except ValueError as error:
            raise IsthmusError(
                f"factors need the shape (rows, 5) and levels below {FACTOR_SIZES}: correct them"
            ) from error
        return torch.from_numpy(rows)

    def rows(self, index: Tensor) -> Tensor:
        """Images ``(len(index), 1, size, size)`` of zeros and ones, float32."""
        return torch.from_numpy(self.render(index)).to(torch.float32).unsqueeze(1)

    def render(self, index: Tensor) -> np.ndarray:
        """The same images as booleans ``(len(index), size, size)``."""
        levels = np.unravel_index(self._checked(index), FACTOR_SIZES)
        shape, scale, turn, column, row = (level[:, None, None] for level in levels)
        unit = self.size / _FRAME
        x, y = (unit * (_FIRST + _SPAN * at / (FACTOR_SIZES[3] - 1)) for at in (column, row))
        # Only a window around the centre is evaluated; the rest of a frame is empty.
        side = int(2 * _REACH * unit) + 2
        left, top = (np.floor(at - _REACH * unit).astype(np.int64) for at in (x, y))
        across = left + np.arange(side)
        down = top + np.arange(side)[:, None]
        stretch = unit * (0.5 + 0.1 * scale)
        u, v = (across + 0.5 - x) / stretch, (down + 0.5 - y) / stretch
        angle = 2 * pi * turn / (FACTOR_SIZES[2] - 1)
        # Single precision halves the time; it decides no pixel of the original frames otherwise.
        u, v, cos, sin = (a.astype(np.float32) for a in (u, v, np.cos(angle), np.sin(angle)))
        inside = _inside(shape[:, 0, 0], cos * u - sin * v, sin * u + cos * v)
        frames = np.zeros((len(shape), self.size, self.size), bool)
        # Shapes stay within the frame, so a window's pixels beyond its edge are empty.
        item, j, i = np.nonzero(inside)
        frames[item, down[item, j, 0], across[item, 0, i]] = True
        return frames

    def _checked(self, index: Tensor) -> np.ndarray:
        rows = index.numpy()
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IsthmusError(f"sprites have the rows 0 to {len(self) - 1}: ask for one of these")
        return rows


def _inside(shape: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Which points ``(n, h, w)``, in pixels at scale 1 with ``v`` downwards, lie in the shape."""
    inside = np.empty(u.shape, bool)
    for kind in range(len(SHAPES)):
        which = shape == kind
        if not which.any():
            continue
        a, b = u[which], v[which]
        if kind == 0:
            inside[which] = np.maximum(np.abs(a), np.abs(b)) <= _HALF_SIDE
        elif kind == 1:
            inside[which] = (a / _SEMI_AXES[0]) ** 2 + (b / _SEMI_AXES[1]) ** 2 <= 1
        else:
            b = b + _HEART_LIFT
            at = np.arctan2(np.abs(a), b)
            outline = np.interp(at, np.linspace(0, pi, len(_HEART)), _HEART)
            inside[which] = np.hypot(a, b) <= outline
    return inside
