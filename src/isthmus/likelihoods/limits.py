"""Limits on what a network may say, so that no exponential overflows."""

import math

from torch import Tensor

WIDEST = math.log(1e6)
"""Log variances stay within this of 0: variances lie between 1e-6 and 1e6."""

FASTEST = 30.0
"""The greatest log rate of counts: 1e13."""


def bounded(raw: Tensor, low: float | None, high: float | None) -> Tensor:
    """``raw`` clamped to ``[low, high]``, its gradient passed on as if it were not.

    Within the limits this is ``raw``, to the bit. Beyond them a plain clamp has no gradient, so
    that a number which once went too far could never come back; here it gets the gradient that
    the loss has at the limit.
    """
    return raw.detach().clamp(low, high) + (raw - raw.detach())
