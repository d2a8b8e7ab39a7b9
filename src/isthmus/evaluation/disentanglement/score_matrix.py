"""What is read off a matrix of scores between latents and factors."""

import numpy as np


def gaps(scores: np.ndarray) -> np.ndarray:
    """Largest less second largest score of each column, ``(factors,)``; a lone latent's own."""
    padded = (
        np.concatenate([scores, np.zeros((1, scores.shape[1]))]) if len(scores) == 1 else scores
    )
    ordered = np.sort(padded, axis=0)
    return ordered[-1] - ordered[-2]


def concentration(scores: np.ndarray) -> np.ndarray:
    """1 less the normalised entropy of each row's scores; NaN for rows of zeros.

    ``(rows, columns)`` of scores that are not negative to ``(rows,)``; NaN throughout where there
    is one column only.
    """
    totals = scores.sum(axis=1)
    concentrations = np.full(len(scores), np.nan)
    if scores.shape[1] > 1:
        kept = totals > 0
        share = scores[kept] / totals[kept, None]
        logs = np.log(share, out=np.zeros_like(share), where=share > 0)
        concentrations[kept] = 1 + (share * logs).sum(axis=1) / np.log(scores.shape[1])
    return concentrations


def dominance(scores: np.ndarray) -> np.ndarray:
    """The share of each row's largest score, 1 for all in one and 0 for all alike.

    ``(rows, columns)`` of scores that are not negative to ``(rows,)``: (max / sum - 1/c) /
    (1 - 1/c) for c columns. Rows of zeros give 0; NaN throughout where there is one column only.
    """
    columns = scores.shape[1]
    if columns == 1:
        return np.full(len(scores), np.nan)
    totals = scores.sum(axis=1)
    share = scores.max(axis=1) / np.where(totals > 0, totals, 1)
    level = np.where(totals > 0, share, 1 / columns)
    excess: np.ndarray = (level - 1 / columns) / (1 - 1 / columns)
    return excess
