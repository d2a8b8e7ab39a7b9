"""Small images: how well they are rebuilt, and what a classifier makes of their codes."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from sklearn.decomposition import PCA

from isthmus import data
from isthmus.evaluation import error_per_element, fvu
from isthmus.evaluation.probing import knn_probe, linear_probe
from isthmus.studies.arms import Bench, Coded, Control, Ground, Subject
from isthmus.studies.quantities import Quantity, quantity
from isthmus.studies.trial import Trial

STRENGTHS = (1.0, 1e-1, 1e-2)
"""Penalties that the classifier chooses from, by cross-validation."""

LEAST = 600
"""Rows that a classifier of ten classes needs at least."""

Side = Literal[14, 28]


def images(
    name: str = "mnist", *, rows: int = 60_000, held: int = 10_000, labelled: int = 2500,
    side: Side = 28, flat: bool = False,
) -> Bench:  # fmt: skip
    """A bench of MNIST or Fashion-MNIST, other rows for each seed; pixels lie in [0, 1].

    ``side`` 14 takes means of 2x2 pixels. ``known`` has ``labels`` of the first ``labelled`` rows,
    ``classes`` of all of them, and ``truth``, the classes of the held-out test images.
    """

    def open_ground(trial: Trial) -> Ground:
        dataset = data.load(name)
        assert dataset.test is not None
        assert dataset.train_labels is not None
        assert dataset.test_labels is not None
        rng = np.random.default_rng(trial.seed)
        seen = rng.permutation(len(dataset.train))[: trial.rows(rows, LEAST)]
        kept = rng.permutation(len(dataset.test))[: trial.rows(held, LEAST)]
        few = labelled
        if trial.probing:  # a classifier costs more than twenty steps of training
            few, kept = min(labelled, LEAST), kept[:LEAST]
        parts = [prepared(x, side, flat) for x in (dataset.train[seen], dataset.test[kept])]
        classes = dataset.train_labels[seen]
        known = {"labels": classes[:few], "classes": classes, "truth": dataset.test_labels[kept]}
        return Ground(parts[0], parts[1], trial.seed, known)

    setting = (
        f"{name}, {rows:,} images of {side}x{side} pixels in [0, 1], drawn anew for each seed, and "
        f"{held:,} test images."
    )
    return Bench("images", setting, open_ground, MEASURES, needs=(name,))


def prepared(images: np.ndarray, side: Side = 28, flat: bool = False) -> np.ndarray:
    """Grey images as bytes ``(rows, 28, 28)`` to float32 ``(rows, 1, side, side)`` in [0, 1]."""
    rows, height = images.shape[:2]
    step = height // side
    blocks = images.reshape(rows, 1, side, step, side, step).astype(np.float32)
    pixels = blocks.mean((3, 5)) / np.float32(255)
    return pixels.reshape(rows, -1) if flat else pixels


def pca(latents: int, text: str = "") -> Control:
    """Principal components of the same images, as many as latents."""

    def make(_: Mapping[str, Subject], ground: Ground, trial: Trial) -> Subject:
        shape = ground.rows.shape[1:]
        flat = ground.rows.reshape(len(ground.rows), -1)
        fitted = PCA(latents, svd_solver="covariance_eigh").fit(flat)
        return Coded(
            lambda rows: fitted.transform(rows.reshape(len(rows), -1)),
            lambda codes: fitted.inverse_transform(codes).reshape(-1, *shape),
        )

    return Control(text or f"{latents} principal components of the same images", make)


def pixels() -> Control:
    """The images themselves, as their own codes."""
    return Control(
        "the pixels themselves",
        lambda _arms, ground, _trial: Coded(
            lambda rows: rows.reshape(len(rows), -1),
            lambda codes: codes.reshape(-1, *ground.rows.shape[1:]),
        ),
    )


def fewer_labels(arm: str) -> Quantity:
    """Test error on an arm's codes, divided by that with a quarter of the labels: below 1."""
    return quantity(
        f"probe_error of {arm} divided by that with a quarter of the labels",
        lambda f: f[arm]["probe_error"] / f[arm]["probe_error_quarter"],
        null=1.0,
        logarithmic=True,
    )


def _rebuilt(subject: Subject, ground: Ground) -> np.ndarray:
    return np.asarray(subject.reconstruct(ground.held)).reshape(ground.held.shape)


def _squared_error(subject: Subject, ground: Ground) -> float:
    """Squared error of a test image, summed over its pixels."""
    return float(error_per_element(ground.held, _rebuilt(subject, ground)).value) * (
        ground.held[0].size
    )


def _codes(subject: Subject, ground: Ground) -> tuple[Any, ...]:
    labels = ground.known["labels"]
    seen, held = (np.asarray(subject.encode(x)) for x in (ground.rows[: len(labels)], ground.held))
    return seen.reshape(len(seen), -1), labels, held.reshape(len(held), -1), ground.known["truth"]


def _probe_error(subject: Subject, ground: Ground) -> float:
    """Test error, in per cent, of logistic regression on the codes of the labelled images."""
    accuracy = linear_probe(*_codes(subject, ground), seeds=ground.seed, strengths=STRENGTHS)
    return 100.0 * (1.0 - float(accuracy.value))


def _more_labels(subject: Subject, ground: Ground) -> dict[str, float]:
    """The same error with a quarter of the labels."""
    seen, labels, held, truth = _codes(subject, ground)
    quarter = max(len(labels) // 4, 100)
    accuracy = linear_probe(
        seen[:quarter], labels[:quarter], held, truth, seeds=ground.seed, strengths=STRENGTHS
    )
    return {"probe_error_quarter": 100.0 * (1.0 - float(accuracy.value))}


def _knn_error(subject: Subject, ground: Ground) -> float:
    """Test error, in per cent, of the nearest neighbours among the labelled codes."""
    return 100.0 * (1.0 - float(knn_probe(*_codes(subject, ground), seeds=ground.seed).value))


MEASURES: dict[str, Callable[[Subject, Ground], float | Mapping[str, float]]] = {
    "squared_error": _squared_error,
    "fvu": lambda subject, ground: float(fvu(ground.held, _rebuilt(subject, ground)).value),
    "probe_error": _probe_error,
    "probe_error_quarter": _more_labels,
    "knn_error": _knn_error,
    "dead_share": lambda subject, ground: float(
        1.0 - (np.asarray(subject.encode(ground.held)) != 0).any(0).mean()
    ),
}
