"""What is asked of a method, how it is measured, and which baselines stand beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from isthmus import evaluation
from isthmus.comparison.methods import Fitted
from isthmus.comparison.prepared import LabelKind, Split
from isthmus.evaluation.anomaly import auroc, average_precision, precision_at_n
from isthmus.evaluation.clustering import ari, clustering_accuracy, nmi
from isthmus.evaluation.description import coded_bits
from isthmus.evaluation.probing import knn_probe, linear_probe

Measured = dict[str, float]
_PART = 1 << 15
"""Rows that are measured at once."""
ROUNDING = 0.01
"""What rounding a code may add to the fraction of variance unexplained."""

BASELINES = {
    "pca": "principal components, as many as a code holds numbers",
    "data": "the data themselves as the code",
    "isolation-forest": "isolation forest on the data",
    "gmm": "a Gaussian mixture of 10 components on the data",
    "plain-gmm": "a Gaussian mixture on the codes of the plain autoencoder",
    "untrained": "the first recipe's network before its first step",
}
"""Methods that stand beside the recipes, and what each is."""


@dataclass(frozen=True)
class Task:
    """A question.

    ``measures`` says of each whether higher is better; the first is the one that ranks.
    ``baselines`` are names of :data:`BASELINES`. ``labels`` are the kinds that it
    needs, empty where it needs none.
    """

    name: str
    about: str
    measures: Mapping[str, bool]
    baselines: tuple[str, ...]
    measure: Callable[[Fitted, Split, int, int], Measured | None]
    labels: tuple[LabelKind, ...] = ()


def _reconstruct(fitted: Fitted, split: Split, clusters: int, seed: int) -> Measured | None:
    recon = fitted.rebuilt(split.test)
    if recon is None:
        return None
    errors = squared_errors(split.flat_test, recon)
    return {"fvu": _fvu(split, recon), "mse": float(errors.mean())}


def _cluster(fitted: Fitted, split: Split, clusters: int, seed: int) -> Measured | None:
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    assigned = fitted.clusters(split.test)
    if assigned is None:
        train, test = fitted.codes(split.train), fitted.codes(split.test)
        if train is None or test is None:
            return None
        spread = np.maximum(train.std(0), 1e-12)
        means = KMeans(clusters, n_init=10, random_state=seed).fit(train / _size(train, spread))
        assigned = means.predict((test / _size(train, spread)).astype(train.dtype))
    several = len(np.unique(assigned)) > 1
    rows = np.random.default_rng(0).permutation(len(assigned))[:5000]
    figures = {
        "silhouette": float(silhouette_score(split.flat_test[rows], assigned[rows]))
        if several and len(np.unique(assigned[rows])) > 1
        else float("nan"),
        "smallest_share": float(np.bincount(assigned, minlength=clusters).min() / len(assigned)),
    }
    if split.test_labels is not None and split.kind == "classes":
        labels = split.test_labels
        figures = {
            "nmi": nmi(assigned, labels, draws=0).value,
            "ari": ari(assigned, labels, draws=0).value,
            "accuracy": clustering_accuracy(assigned, labels, draws=0).value,
            **figures,
        }
    return figures


def _size(train: np.ndarray, spread: np.ndarray) -> float:
    """One factor for all latents: their relative sizes carry meaning."""
    return float(np.sqrt(np.square(spread).mean())) or 1.0


def _anomaly(fitted: Fitted, split: Split, clusters: int, seed: int) -> Measured | None:
    normality = fitted.normality(split.test)
    if normality is None:
        return None
    assert split.test_labels is not None
    labels = split.test_labels
    return {
        "auroc": auroc(normality, labels, higher_is_anomalous=False).value,
        "average_precision": average_precision(normality, labels, higher_is_anomalous=False).value,
        "precision_at_n": precision_at_n(normality, labels, higher_is_anomalous=False).value,
    }


def _probe(fitted: Fitted, split: Split, clusters: int, seed: int) -> Measured | None:
    train, test = fitted.codes(split.train), fitted.codes(split.test)
    if train is None or test is None:
        return None
    assert split.train_labels is not None
    assert split.test_labels is not None
    pairs = (train, split.train_labels, test, split.test_labels)
    return {
        "linear": linear_probe(*pairs, seeds=seed).value,
        "nearest": knn_probe(*pairs, seeds=seed).value,
    }


def _density(fitted: Fitted, split: Split, clusters: int, seed: int) -> Measured | None:
    densities = fitted.log_density(split.test)
    return None if densities is None else {"log_density": float(np.mean(densities))}


def _compress(fitted: Fitted, split: Split, clusters: int, seed: int) -> Measured | None:
    """Halves one bin width for all latents until rounding adds no more than ``ROUNDING`` to FVU."""
    codes, recon = fitted.codes(split.test), fitted.rebuilt(split.test)
    if codes is None or recon is None or fitted.decoded(codes[:1]) is None:
        return None
    unrounded = _fvu(split, recon)
    width = 2.0 * max(float(np.abs(codes).max()), 1e-12)
    for _ in range(40):
        again = fitted.decoded((np.rint(codes / width) * width).astype(codes.dtype))
        assert again is not None
        fvu = _fvu(split, again)
        if fvu <= unrounded + ROUNDING:
            break
        width /= 2.0**0.5
    return {"bits": coded_bits(codes, width).value, "fvu": fvu, "unrounded_fvu": unrounded}


def squared_errors(x: np.ndarray, recon: np.ndarray) -> np.ndarray:
    """Mean squared error of every row, ``(rows,)``, in double, few rows at a time.

    ``x`` is ``(rows, elements)``, ``recon`` of that size in any shape.
    """
    recon, errors = recon.reshape(x.shape), np.empty(len(x))
    for start in range(0, len(x), _PART):
        part = slice(start, start + _PART)
        errors[part] = np.square(x[part].astype(np.float64) - recon[part]).mean(1)
    return errors


def _fvu(split: Split, recon: np.ndarray) -> float:
    test, recon = split.flat_test, recon.reshape(len(recon), -1)
    streamed = evaluation.FVU()
    for start in range(0, len(test), _PART):
        streamed.update(test[start : start + _PART], recon[start : start + _PART])
    return streamed.result().value


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "reconstruct",
            "How much of the test rows' variance the reconstruction leaves unexplained.",
            {"fvu": False, "mse": False},
            ("pca", "untrained"),
            _reconstruct,
        ),
        Task(
            "cluster",
            "k-means on the codes of the training rows, judged on the test rows: by the labels "
            "where there are classes, and by the silhouette in the space of the data.",
            {"nmi": True, "ari": True, "accuracy": True, "silhouette": True,
             "smallest_share": True},
            ("pca", "data", "untrained", "plain-gmm"),
            _cluster,
        ),
        Task(
            "anomaly",
            "Fitted to unlabelled rows; the labels (1 is anomalous) only judge the scores.",
            {"auroc": True, "average_precision": True, "precision_at_n": True},
            ("pca", "isolation-forest", "untrained", "plain-gmm"),
            _anomaly,
            labels=("classes",),
        ),
        Task(
            "probe",
            "How well a linear model, or nearest neighbours, tell the labels from the codes: "
            "accuracy for classes, the coefficient of determination for numbers.",
            {"linear": True, "nearest": True},
            ("pca", "data", "untrained"),
            _probe,
            labels=("classes", "numbers"),
        ),
        Task(
            "density",
            "Mean log density of the test rows in nats; importance-weighted bounds for models "
            "with a Gaussian code. Methods without a density are left out.",
            {"log_density": True},
            ("pca", "untrained", "gmm"),
            _density,
        ),
        Task(
            "compress",
            "Bits of a code whose values are rounded to one bin width, the coarsest that adds no "
            "more than 0.01 to FVU; each latent is coded on its own, by its entropy.",
            {"bits": False, "fvu": False, "unrounded_fvu": False},
            ("pca", "untrained"),
            _compress,
        ),
    )
}  # fmt: skip
