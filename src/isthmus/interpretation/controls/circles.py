"""Do things that follow one another in a ring lie on a circle?"""

from dataclasses import dataclass

import numpy as np

from isthmus.errors import IsthmusError


@dataclass(frozen=True)
class Circle:
    """How round the mean rows of a ring are.

    share
        Of the variance between the means, how much a circle in the ring's order explains: R² of
        the regression on cosine and sine of ``2 pi i / n``.
    shares
        The same for each frequency 1, 2, ...; they add up to 1. The second goes round twice.
    chance
        Mean share of means without order, ``2 / (n - 1)``.
    high
        95th percentile of the share over orders drawn at random.
    """

    share: float
    shares: tuple[float, ...]
    chance: float
    high: float


def circle(rows: np.ndarray, which: np.ndarray, number: int, draws: int = 1000) -> Circle:
    """How round the means of ``rows`` ``(n, width)`` are, ``which`` saying each row's place.

    Places are 0 to ``number`` - 1, in the ring's order; each needs a row. With fewer than 4 places
    any means lie on a circle, which is an ``IsthmusError``.
    """
    if number < 4:
        raise IsthmusError(f"{number} places lie on a circle whatever they are: use 4 or more")
    counts = np.bincount(which, minlength=number)
    if len(counts) > number or not counts.all():
        raise IsthmusError(f"places go from 0 to {number - 1}, and each needs a row")
    means = np.stack([rows[which == place].mean(0) for place in range(number)]).astype(float)
    means -= means.mean(0)
    shares = _shares(means)
    rng = np.random.default_rng(0)
    others = [_shares(means[rng.permutation(number)])[0] for _ in range(draws)]
    return Circle(
        share=float(shares[0]),
        shares=tuple(map(float, shares)),
        chance=2 / (number - 1),
        high=float(np.quantile(others, 0.95)),
    )


def _shares(means: np.ndarray) -> np.ndarray:
    """Share of the power at each frequency from 1 on."""
    number = len(means)
    power = (np.abs(np.fft.rfft(means, axis=0)) ** 2).sum(1)[1:]
    power[: (number - 1) // 2] *= 2  # each of these stands for itself and its mirror image
    return power / power.sum()
