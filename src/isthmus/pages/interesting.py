"""Which latents of a sparse code are worth looking at first: a score between 0 and 1.

It is the product of three numbers:

- **band**: 1 for a latent that fires on a middling share of the rows, from 0.01 % (or ten rows) to
  3 % (or twice the mean rate, where latents fire more often than that). On either side it falls
  with the logarithm of the rate and is 0 a factor of ten away, or at half of the rows: what never
  fires, fires on single rows, or is always on gets nothing.
- **coherence**: how alike the strongest examples are. Of rows of numbers, the mean cosine between
  the twelve strongest, about the mean row. Of text, how much its firing tells of the token: the sum
  of ``p log(p / q)`` over the tokens that it fires on most, in shares of 9.2 nats (what a token of
  one in ten thousand tells). ``p`` is the token's share of its firings, ``q`` that of the firings
  of all latents, by what they list; capitals and spaces about a token make no difference, and a
  piece of fewer than three letters counts half. So what fires on "of" alone comes after what fires
  on one name, or on a dozen words for one thing. Where
  a label was scored, how far that is above chance (0.5) counts if it is more.
- **strength**: its mean value where it fires times the norm of its direction, as a rank among the
  latents that fire, from 0.5 to 1.
"""

from collections.abc import Sequence

import numpy as np

RARE, COMMON = 1e-4, 0.03
LEAST_ROWS = 10
FADE = 10.0
"""The factor outside the band at which nothing is left of the interest."""
ALWAYS = 0.5
"""The rate above which nothing is left in any case, unless latents fire more often than that."""

ALIKE = 12
"""Strongest examples that are compared."""

LETTERS, PIECE = 3, 0.5
"""Letters from which on a token counts as a word, and how much one of fewer counts."""

SAME = 0.7
"""Cosine between the mean examples of two latents from which on they show the same."""

ABOUT = (
    "from 0 to 1: 0 for what is dead or always on, more the more alike its strongest examples are, "
    "and the stronger it is"
)


def interest(
    rates: np.ndarray, rows: int, coherence: np.ndarray | None, strength: np.ndarray
) -> np.ndarray:
    """The score of each latent, ``(latents,)``.

    ``rates`` are the shares of ``rows`` rows on which each fires. Without ``coherence``, which is
    None where rows cannot be compared, the other two decide. NaN counts as 0.
    """
    scores = band(rates, rows) * ranked(strength, rates > 0)
    if coherence is not None:
        scores = scores * np.nan_to_num(coherence).clip(0.0, 1.0)
    return np.asarray(scores)


def band(rates: np.ndarray, rows: int) -> np.ndarray:
    """1 in the middle, 0 for the dead and the always-on; see the module."""
    common = max(COMMON, 2.0 * float(rates.mean())) if len(rates) else COMMON
    rare = min(max(RARE, LEAST_ROWS / max(rows, 1)), common)
    with np.errstate(divide="ignore"):
        log = np.log10(rates)
    below = (np.log10(rare) - log) / np.log10(FADE)
    end = max(min(FADE * common, ALWAYS), 1.001 * common)
    above = (log - np.log10(common)) / np.log10(end / common)
    return np.asarray(1.0 - np.maximum(below, above).clip(0.0, 1.0))


def ranked(strength: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Ranks of the strengths among the latents that are alive, from 0.5 to 1; 0 for the others."""
    ranks = np.zeros(len(strength))
    values = np.nan_to_num(strength[alive])
    order = values.argsort(kind="stable").argsort(kind="stable")
    ranks[alive] = 0.5 + 0.5 * (order + 1) / max(1, len(values))
    return ranks


def alike(rows: np.ndarray, examples: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How alike the rows of each latent's ``examples`` are, and their mean as a direction.

    ``rows`` are ``(rows, elements)``. The first is the mean cosine of pairs, about the mean row,
    ``(latents,)``, NaN with fewer than two examples; the second, ``(latents, elements)``, has
    norm 1.
    """
    unit = _unit(rows - rows.mean(0))
    coherence = np.full(len(examples), np.nan)
    sums = np.zeros((len(examples), rows.shape[1]), unit.dtype)
    for place, members in enumerate(examples):
        n = len(members)
        sums[place] = unit[members].sum(0)
        if n > 1:
            whole = float(np.square(sums[place]).sum())
            coherence[place] = (whole - float(np.square(unit[members]).sum())) / (n * (n - 1))
    return coherence, _unit(sums)


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))


def tells_of_tokens(
    words: Sequence[str],
    tokens: Sequence[np.ndarray],
    shares: Sequence[np.ndarray],
    rates: np.ndarray,
) -> np.ndarray:
    """How much each latent's firing tells of the token, from 0 to 1; see the module.

    ``tokens`` are the numbers in ``words`` of the tokens that it fires on most, ``shares`` their
    shares of its firings, which are ``rates`` of all tokens.
    """
    number: dict[str, int] = {}
    plain = [word.strip().casefold() for word in words]
    same = np.array([number.setdefault(word, len(number)) for word in plain], np.int64)
    worth = np.array(
        [1.0 if sum(map(str.isalpha, word)) >= LETTERS else PIECE for word in number], np.float64
    )
    tokens = [same[ids] for ids in tokens]
    all_tokens = np.concatenate([*tokens, np.zeros(1, np.int64)]).astype(np.int64)
    weights = [part * rate for part, rate in zip(shares, rates, strict=True)]
    mass = np.bincount(all_tokens, np.nan_to_num(np.concatenate([*weights, np.zeros(1)])))
    base = mass / max(float(np.nansum(rates)), 1e-12)
    information = np.zeros(len(tokens))
    for place, (ids, part) in enumerate(zip(tokens, shares, strict=True)):
        each, index = np.unique(ids, return_inverse=True)
        p = np.bincount(index, part, len(each))
        some = (p > 0) & (base[each] > 0)
        each, p = each[some], p[some]
        information[place] = float((worth[each] * p * np.log(p / base[each])).sum())
    return np.asarray((information / np.log(1 / RARE)).clip(0.0, 1.0))


def above_chance(scores: Sequence[float | None]) -> np.ndarray:
    """How far above chance labels were scored, from 0 (at 0.5) to 1; 0 without a score."""
    return np.array([0.0 if s is None else max(0.0, 2.0 * s - 1.0) for s in scores])


def picked(
    score: np.ndarray,
    signatures: Sequence[frozenset[int]],
    number: int,
    directions: np.ndarray | None = None,
) -> list[int]:
    """The latents of the largest scores, without those that show the same as one before.

    Two show the same if more than half of the smaller one's signature (its examples, its token) is
    the other's, or if their mean examples (the second of :func:`alike`) have a cosine over 0.7.
    Latents without any interest are not picked.
    """
    picks: list[int] = []
    for latent in np.argsort(-score, kind="stable"):
        if len(picks) == number or not score[latent] > 0:
            break
        signature = signatures[latent]
        shared = (
            2 * len(signature & signatures[k]) > min(len(signature), len(signatures[k]))
            for k in picks
        )
        if any(shared):
            continue
        near = 0.0 if directions is None or not picks else directions[picks] @ directions[latent]
        if float(np.max(near)) > SAME:
            continue
        picks.append(int(latent))
    return picks
