"""How well codes, and numbers such as neurons, tell the states of a finite-state machine.

Everything is chosen on the first half of the walks and measured on the other.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Best:
    """For each state the position and the code that tell it best, and how well.

    All are ``(states,)``: ``precision`` and ``recall`` on the half that was not chosen on, 0 for a
    code that is nowhere on it; ``reached`` is the recall on the half that was.
    """

    position: np.ndarray
    code: np.ndarray
    reached: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def best_codes(indices: np.ndarray, walks: np.ndarray, states: int) -> Best:
    """The code of the best F1 for each state.

    ``indices`` int64 ``(walks, length, positions)`` are the code that each of several codebooks
    chose, ``walks`` ``(walks, length)`` the states.
    """
    half = len(walks) // 2
    tables = [
        _counts(indices[part], walks[part], states) for part in (slice(half), slice(half, None))
    ]
    scores = []
    for table in tables:
        with np.errstate(invalid="ignore"):
            recall = np.nan_to_num(table / table.sum(2, keepdims=True))
            precision = np.nan_to_num(table / table.sum(1, keepdims=True))
            f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
        scores.append((f1, precision, recall))
    each = np.arange(states)
    flat = scores[0][0].transpose(1, 0, 2).reshape(states, -1).argmax(1)
    position, code = np.divmod(flat, tables[0].shape[2])
    return Best(
        position, code, *(part[position, each, code] for part in (scores[0][2], *scores[1][1:]))
    )


def precision_at_recall(values: np.ndarray, walks: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """The precision, for each state, of the number that tells it best at least at that recall.

    ``values`` ``(walks, length, numbers)``, ``recall`` ``(states,)``. A number, of either sign,
    tells a state by being at least as large as a threshold: the largest at which the recall on the
    first half is reached.
    """
    half = len(walks) // 2
    chosen_on, measured = (
        values[part].reshape(-1, values.shape[2]) for part in (slice(half), slice(half, None))
    )
    first, second = walks[:half].reshape(-1), walks[half:].reshape(-1)
    precisions = np.zeros(len(recall))
    for state, share in enumerate(recall):
        inside = first == state
        if not inside.any():
            continue
        most = (-1.0, 0.0)
        for sign in (1.0, -1.0):
            ordered = np.sort(sign * chosen_on[inside], 0)[::-1]
            count = min(len(ordered), max(1, int(np.ceil(share * len(ordered) - 1e-9))))
            threshold = ordered[count - 1]
            on = sign * chosen_on >= threshold
            precision = on[inside].sum(0) / on.sum(0)
            number = int(precision.argmax())
            if precision[number] > most[0]:
                held = sign * measured[:, number] >= threshold[number]
                most = (precision[number], (second == state)[held].mean() if held.any() else 0.0)
        precisions[state] = most[1]
    return precisions


def _counts(indices: np.ndarray, walks: np.ndarray, states: int) -> np.ndarray:
    """How often each code stands at each state, ``(positions, states, codes)``."""
    codes, state = int(indices.max()) + 1, walks.reshape(-1)
    tables = [
        np.bincount(state * codes + column, minlength=states * codes).reshape(states, codes)
        for column in indices.reshape(len(state), -1).T
    ]
    return np.stack(tables).astype(float)
