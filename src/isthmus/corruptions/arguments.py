"""Checks that several corruptions share."""

from torch import Tensor

from isthmus.errors import IsthmusError


def share(name: str, value: float, *, below_one: bool = False) -> float:
    """A share in [0, 1], or in [0, 1) where everything must not go."""
    if not 0.0 <= value <= 1.0 or (below_one and value == 1.0):
        end = "below 1" if below_one else "at most 1"
        raise IsthmusError(f"{name}={value} must be a share: at least 0 and {end}")
    return value


def at_least(name: str, value: float, low: float = 0.0) -> float:
    """A number that must not be below ``low``."""
    if not value >= low:
        raise IsthmusError(f"{name}={value} must be at least {low:g}")
    return value


def interval(
    name: str, values: tuple[float, float], *, low: float = 0.0, high: float = float("inf")
) -> tuple[float, float]:
    """A range ``(from, to)`` of positive numbers within ``(low, high]``."""
    first, last = values
    if not low < first <= last <= high:
        limit = f" and at most {high:g}" if high != float("inf") else ""
        raise IsthmusError(
            f"{name}={tuple(values)} must be a range (from, to), above {low:g}{limit}"
        )
    return first, last


def images(x: Tensor, what: object) -> Tensor:
    """``x`` itself if it is a batch of images ``(rows, channels, height, width)``."""
    if x.ndim != 4:
        raise IsthmusError(
            f"{type(what).__name__} works on images (rows, channels, height, width), and this "
            f"batch has the shape {tuple(x.shape)}: use GaussianNoise or MaskingNoise instead"
        )
    return x


def per_row(values: Tensor, x: Tensor) -> Tensor:
    """``values`` ``(rows,)`` with axes of length 1 after it, to go with ``x``."""
    return values.reshape(-1, *(1,) * (x.ndim - 1))
