"""Rows whose norm is far beyond all others: attention sinks, which are left out."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from isthmus.activations.feed_factory import Feed, Kept, TokenFeed
from isthmus.activations.points import is_gradient
from isthmus.errors import IsthmusError
from isthmus.notices import say

MaxNorm = float | None | Literal["auto"]
"""Times the median norm beyond which a token is left out; None keeps all."""
MAX_NORM = 10.0
"""Times the median norm, beyond which a token of a language model is left out: attention sinks have
fifty times and more (Xiao et al. 2024, arXiv:2309.17453; Sun et al. 2024, arXiv:2402.17762)."""


def default_norm(feed: Feed) -> float | None:
    """Of a language model rows with norms beyond all others are left out, of others none."""
    return MAX_NORM if isinstance(feed, TokenFeed) else None


def checked_norm(value: MaxNorm) -> MaxNorm:
    """``max_norm``, where it is a number over 1, None or ``"auto"``."""
    if value is None or value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 < value < math.inf:
        raise IsthmusError(
            f"max_norm={value!r} is a number of times the median norm: use one over 1, such as "
            "10, or None to keep all rows"
        )
    return float(value)


def medians(kept: Kept) -> dict[str, float]:
    """The median norm of some tokens at each point; of gradients, heavy-tailed anyway, none."""
    return {
        point: float(_norms(values).median())
        for point, values in kept.values.items()
        if not is_gradient(point)
    }


def within(kept: Kept, limits: Mapping[str, float]) -> Tensor:
    """Which tokens have no norm beyond the limit of any point, bool ``(tokens,)``."""
    inside = torch.ones(len(kept.row), dtype=torch.bool)
    for point, limit in limits.items():
        inside &= ~(_norms(kept.values[point]) > limit)  # NaN is kept, and found by who stores it
    return inside


def leave_out_sinks(feed: TokenFeed, rows: Tensor, factor: float) -> None:
    """Take the places and tokens out of a feed that are sinks in the rows ``rows``, int64.

    Who has to know beforehand which tokens are kept cannot look at each: left out are, of all rows,
    the places (from the beginning of the text) and the tokens of which most have more than
    ``factor`` times the median norm. What that is, is said.
    """
    kept = feed.run(rows)
    large = ~within(kept, {p: factor * m for p, m in medians(kept).items() if m > 0})
    if not bool(large.any()):
        return
    mask = feed.tokens.mask
    position = mask.to(torch.int64).cumsum(1) - 1
    at, token = position[kept.row, kept.place], feed.tokens.ids[kept.row, kept.place]
    places = _mostly(at, large)
    elsewhere = ~torch.isin(at, places)
    tokens = _mostly(token[elsewhere], large[elsewhere])
    sinks = mask & (torch.isin(position, places) | torch.isin(feed.tokens.ids, tokens))
    if bool(sinks.all()) or not int((feed.keep & ~sinks).sum()):
        return
    number = feed.exclude(sinks, "norm")
    rest = int((elsewhere & large & ~torch.isin(token, tokens)).sum())
    what = []
    if len(places):
        what.append("place " + ", ".join(map(str, places.tolist())) + " of every row")
    if len(tokens):
        pieces = feed.host.tokenizer.pieces(tokens[:5].tolist())
        what.append("the tokens " + ", ".join(map(repr, pieces)))
    if number:
        say(
            f"{number:,} tokens are left out, as most like them have more than {factor:g} times "
            f"the median norm ({' and '.join(what)}; max_norm= takes another factor, or none)"
        )
    if rest:
        say(
            f"{rest:,} of {len(large):,} tokens looked at have more than {factor:g} times the "
            "median norm and stay: isthmus harvest leaves out each by itself"
        )


def _mostly(key: Tensor, large: Tensor) -> Tensor:
    """Values of a key of which most are large, sorted."""
    values, number = key.unique(return_inverse=True)
    counts = torch.bincount(number, minlength=len(values))
    mine = torch.bincount(number, weights=large.double(), minlength=len(values))
    return values[mine > 0.5 * counts]


def _norms(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values.float(), dim=1)
