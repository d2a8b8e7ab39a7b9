"""A signal as a row of patches, and back."""

from math import prod

from torch import Tensor

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.networks.layers import plain
from isthmus.shapes import Float

MOST = {1: 32, 2: 8}
"""Most patches along an axis that a patch size chosen by us gives, by the number of axes."""


class Patches:
    """How a signal is cut into equal patches.

    An image is cut into squares of ``patch`` pixels (or ``(height, width)``), in raster order,
    pixels of a patch in the order row, column, channel (He et al. 2021). A series is cut into
    chunks of ``patch`` steps, a vector into chunks of ``patch`` elements. The sides must be
    multiples of the patch. ``None`` takes along each axis the smallest divisor of at least 2 that
    gives at most 8 patches (32 for vectors and series).

    ``grid`` holds the number of patches along each axis, ``count`` their number and ``dim`` the
    number of elements in one.
    """

    def __init__(self, signal: Signal, patch: int | tuple[int, ...] | None = None) -> None:
        self.shape = plain(signal).shape
        self.is_image = signal.kind == "image"
        sides = self.shape[1:] if self.is_image else self.shape[:1]
        if patch is None:
            self.patch = tuple(_fitting(side, MOST[len(sides)]) for side in sides)
        else:
            self.patch = (patch,) * len(sides) if isinstance(patch, int) else tuple(patch)
        self._check(signal, sides)
        self.grid = tuple(side // size for side, size in zip(sides, self.patch, strict=True))
        self.count = prod(self.grid)
        self.dim = signal.numel // self.count

    def _check(self, signal: Signal, sides: tuple[int, ...]) -> None:
        if len(self.patch) != len(sides):
            raise IsthmusError(
                f"patch={self.patch} has {len(self.patch)} sizes, but this signal ({signal}) is "
                f"cut along {len(sides)}: pass one size for each, or a single number"
            )
        if any(p < 1 or s % p for s, p in zip(sides, self.patch, strict=True)):
            sizes = "x".join(map(str, self.patch))
            works = ", ".join(str(p) for p in _common_divisors(sides))
            raise IsthmusError(
                f"patches of {sizes} do not tile this signal ({signal}): patch sizes that work "
                f"are {works}"
            )

    def patchify(self, x: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows patches dim"]:
        """``(rows, *shape)`` to ``(rows, count, dim)``."""
        if self.is_image:
            (tall, wide), (height, width) = self.grid, self.patch
            x = x.reshape(x.shape[0], self.shape[0], tall, height, wide, width)
            x = x.permute(0, 2, 4, 3, 5, 1)
        return x.reshape(x.shape[0], self.count, self.dim)

    def unpatchify(
        self, patches: Float[Tensor, "rows patches dim"]
    ) -> Float[Tensor, "rows *shape"]:
        """``(rows, count, dim)`` to ``(rows, *shape)``: the inverse of :meth:`patchify`."""
        rows = patches.shape[0]
        if self.is_image:
            (tall, wide), (height, width) = self.grid, self.patch
            patches = patches.reshape(rows, tall, wide, height, width, self.shape[0])
            patches = patches.permute(0, 5, 1, 3, 2, 4)
        return patches.reshape(rows, *self.shape)

    def __repr__(self) -> str:
        sizes = [" x ".join(map(str, values)) for values in (self.grid, self.patch)]
        return f"Patches({sizes[0]} of {sizes[1]})"


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _common_divisors(sides: tuple[int, ...]) -> list[int]:
    return [d for d in _divisors(min(sides)) if all(side % d == 0 for side in sides)]


def _fitting(side: int, most: int) -> int:
    return next((d for d in _divisors(side) if d > 1 and side // d <= most), side)
