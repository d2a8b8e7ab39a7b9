"""What a linear probe reads from a model's activations, layer by layer."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isthmus.activations import Activations
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import classes
from isthmus.language import LanguageModel


def states(
    model: LanguageModel, prompts: Sequence[str], points: Sequence[str], batch: int = 64
) -> dict[str, np.ndarray]:
    """Activations at the last token of each prompt, float32 ``(prompts, width)`` by point."""
    tokenizer = model.tokenizer
    begin = [] if tokenizer.bos is None else [tokenizer.bos]
    rows = [[*begin, *tokenizer.encode(prompt)] for prompt in prompts]
    if any(len(row) == len(begin) for row in rows):
        raise IsthmusError("a prompt is empty: give texts of one token or more")
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    activations = Activations(model.module, list(points))
    by_point: dict[str, list[torch.Tensor]] = {point: [] for point in points}
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        ids = torch.zeros(len(some), len(rows[some[-1]]), dtype=torch.int64)
        for row, i in enumerate(some):
            ids[row, : len(rows[i])] = torch.tensor(rows[i])
        last = torch.tensor([len(rows[i]) - 1 for i in some])
        mask = torch.arange(ids.shape[1]) <= last[:, None]
        values = activations(ids, mask)
        for point in points:
            by_point[point].append(values[point][torch.arange(len(some)), last].float().cpu())
    back = np.argsort(order)
    return {point: torch.cat(parts).numpy()[back] for point, parts in by_point.items()}


@dataclass(frozen=True)
class Read:
    """What a probe reads: its score, the score on shuffled labels, and what is chance.

    ``measure`` is "AUROC" of two classes, "accuracy" of more; ``chance`` is 0.5, or the share of
    the most frequent class.
    """

    score: float
    shuffled: float
    chance: float
    measure: str


def read_out(
    rows: np.ndarray,
    labels: Sequence,
    groups: Sequence | None = None,
    strength: float = 0.01,
    folds: int = 5,
) -> Read:
    """Cross-validated score of a logistic probe on standardised rows ``(n, width)``.

    ``groups``: rows of one group are never on both sides. ``strength`` is the inverse of the
    penalty (sklearn's ``C``). Classes with fewer members than folds are left out, and missing
    labels are an :class:`IsthmusError`.
    """
    targets = classes(labels, "labels of the probe")[1]
    names, counts = np.unique(targets, return_counts=True)
    keep = np.isin(targets, names[counts >= folds])
    rows, targets = rows[keep], targets[keep]
    apart = np.arange(len(keep))[keep] if groups is None else np.asarray(groups)[keep]
    names, counts = np.unique(targets, return_counts=True)
    if len(names) < 2:
        raise IsthmusError(f"a probe needs two classes of {folds} rows or more: give more rows")
    mixed = np.random.default_rng(0).permutation(targets)
    two = len(names) == 2
    return Read(
        score=_score(rows, targets, apart, strength, folds, two),
        shuffled=_score(rows, mixed, apart, strength, folds, two),
        chance=0.5 if two else float(counts.max() / counts.sum()),
        measure="AUROC" if two else "accuracy",
    )


def _score(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, strength: float, folds: int, two: bool
) -> float:
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    how = "decision_function" if two else "predict"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the penalty makes it unique enough
        predictions = cross_val_predict(probe, rows, labels, groups=groups, cv=split, method=how)
    return float(roc_auc_score(labels, predictions) if two else (predictions == labels).mean())
