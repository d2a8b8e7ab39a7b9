"""Entropy and mutual information in nats, of labels and of numbers beside labels."""

import numpy as np
from scipy.special import digamma


def entropy(labels: np.ndarray) -> float:
    """Plug-in entropy of labels ``(rows,)``."""
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(share * np.log(share)).sum())


def entropies(labels: np.ndarray) -> np.ndarray:
    """Plug-in entropy of each column of ``(rows, columns)``."""
    return np.array([entropy(column) for column in labels.T])


def label_information(
    first: np.ndarray, second: np.ndarray, *, corrected: bool = False
) -> np.ndarray:
    """Mutual information of every pair of columns, ``(columns, columns)``.

    Labels are integers from 0. The plug-in estimate is biased upwards by about (a - 1)(b - 1) / 2n
    for a and b labels in n rows (Miller 1955, *Note on the bias of information estimates*).
    ``corrected`` takes that off: (s - a - b + 1) / 2n for the s pairs, a and b labels that occur,
    and what is then below 0 is 0.
    """
    information = np.zeros((first.shape[1], second.shape[1]))
    for i, a in enumerate(first.T):
        for j, b in enumerate(second.T):
            width = int(b.max()) + 1
            joint = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width)
            information[i, j] = _of_counts(joint.reshape(-1, width), corrected)
    return information


def neighbour_information(values: np.ndarray, labels: np.ndarray, neighbours: int) -> np.ndarray:
    """Mutual information of numbers ``(rows, latents)`` with labels ``(rows, factors)``.

    The nearest-neighbour estimator of Ross (2014, *PLoS ONE* 9, e87357), below 0 cut to 0: for
    each row the distance r to its ``neighbours``-th nearest row of the same label (fewer in small
    classes; classes of one row are left out), and the number m of rows of any label nearer than
    that. Where rows coincide (r = 0), the coinciding rows take the place of the neighbours (Gao
    et al. 2017, arXiv:1709.06212); no noise is added to break ties, so that the estimate is
    deterministic and holds for mixtures.
    """
    return np.array([[_neighbour(z, v, neighbours) for v in labels.T] for z in values.T])


def _of_counts(joint: np.ndarray, corrected: bool) -> float:
    rows, columns = (int((joint.sum(axis=axis) > 0).sum()) for axis in (1, 0))
    more = int((joint > 0).sum()) - rows - columns + 1
    bias = more / (2 * joint.sum()) if corrected else 0.0
    share = joint / joint.sum()
    independent = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    seen = share > 0
    plug_in = float((share[seen] * np.log(share[seen] / independent[seen])).sum())
    return max(0.0, plug_in - bias)


def _neighbour(values: np.ndarray, labels: np.ndarray, neighbours: int) -> float:
    counts = np.bincount(labels)
    kept = counts[labels] > 1
    everyone = np.sort(values[kept])
    if len(everyone) == 0:
        return 0.0
    of_k, of_m, of_class = 0.0, 0.0, 0.0
    for label in np.flatnonzero(counts > 1):
        class_values = np.sort(values[labels == label])
        size = len(class_values)
        k = min(neighbours, size - 1)
        low, high, radius = _window(class_values, k)
        tied = radius == 0
        nearer = np.searchsorted(everyone, high, "left") - np.searchsorted(everyone, low, "right")
        same = _ties(class_values, class_values)
        of_k += digamma(np.where(tied, same - 1, k)).sum()
        of_m += digamma(np.where(tied, _ties(everyone, class_values) - 1, nearer)).sum()
        of_class += size * digamma(size)
    rows = len(everyone)
    return max(0.0, float(digamma(rows) + (of_k - of_class - of_m) / rows))


def _window(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For sorted values the open interval that ends at the k-th neighbour, and its radius."""
    size = len(values)
    beyond = np.full(k, np.inf)
    padded = np.concatenate([-beyond, values, beyond])
    # Row b: the window that starts b places below, and the one value at each of its ends.
    first = np.stack([padded[k - below : k - below + size] for below in range(k + 1)])
    last = np.stack([padded[2 * k - below : 2 * k - below + size] for below in range(k + 1)])
    reach = np.maximum(values - first, last - values)
    best = reach.argmin(axis=0), np.arange(size)
    first, last, radius = first[best], last[best], reach[best]
    # The end at the neighbour itself is its own value: x - (x - y) may round to another.
    low = np.where(values - first >= last - values, first, values - radius)
    high = np.where(last - values >= values - first, last, values + radius)
    return low, high, radius


def _ties(everyone: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.searchsorted(everyone, values, "right") - np.searchsorted(everyone, values, "left")
