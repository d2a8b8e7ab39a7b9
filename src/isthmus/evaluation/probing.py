"""What can be read off codes: probes that are fitted on one part of the rows, scored on another.

A probe's one setting is chosen on rows held out of the *training* part; test rows are looked at
once, by the probe that was chosen. Codes are standardised by the training codes (all of them, also
where few labels are used: that needs no label), or all latents divided by one number
(``standardise=False``), so that those that hardly vary stay small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import classes, matrix, plain, same_rows, vector, whole
from isthmus.evaluation.intervals import DRAWS, STILL, blocks, percentile, resample, wilson
from isthmus.evaluation.predictors import logistic, neighbour_means, neighbour_votes, ridge
from isthmus.evaluation.result import Result

STRENGTHS = (100.0, 10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Strengths of the penalty that a linear probe tries, per row; of equal ones the first wins."""

KS = (1, 3, 5, 10, 20, 50)
"""Numbers of neighbours that a nearest-neighbour probe tries."""

HELD_OUT = 0.2
"""Share of the labelled training rows on which the setting is chosen."""

_Fit = Callable[
    [np.ndarray, np.ndarray, Sequence, np.ndarray],
    tuple[list[np.ndarray], bool],
]


def linear_probe(
    codes: Array,
    labels: Array,
    test_codes: Array,
    test_labels: Array,
    *,
    per_class: int | None = None,
    seeds: int | Sequence[int] = 0,
    strengths: Sequence[float] = STRENGTHS,
    standardise: bool = True,
) -> Result:
    """Accuracy on test rows of a linear classifier of the codes, or R^2 of a linear regression.

    codes, test_codes
        ``(rows, *latent)``.
    labels, test_labels
        ``(rows,)``. Floats that are not all whole are values to regress on (ridge regression, R^2
        against the mean of the test values); anything else are classes (multinomial logistic
        regression).
    per_class
        Use so many labelled training rows of each class only, drawn anew for each seed.
    seeds
        One seed or several: which rows are held out, and which few are drawn. With several the
        value is their mean.
    strengths
        L2 penalties of the scaled codes' weights, per row, to choose among; the strongest first.
    standardise
        Bring every latent to variance 1, so that none is out of reach of the penalty for its size.
        False: all are divided by one number that makes their mean variance 1, and a passive
        latent, whose mean hardly varies, is no larger to the probe than it is in the code.

    A fifth of the labelled training rows is held out (of each class, one at least) to choose the
    strength; the probe is then fitted on all of them. With ``per_class=1`` nothing can be held out
    and the middle one of ``strengths`` is taken, as the note says.

    ``per`` is the value of each seed. The interval is Wilson's over test rows for the accuracy of
    one seed; else the percentile bootstrap over test rows, and over seeds where there are several.
    ``n`` counts test rows. Training labels of one class, too few rows of a class, NaN and codes of
    other shapes are an :class:`IsthmusError`.
    """
    task = _Task.of(codes, labels, test_codes, test_labels, standardise)
    options = sorted((float(strength) for strength in strengths), reverse=True)
    if not options or not 0 < options[-1] <= options[0] < np.inf:
        raise IsthmusError(f"strengths {tuple(strengths)} do not fit: pass numbers above 0")
    what = ("multinomial logistic regression", "ridge regression")[task.continuous]
    fit = ridge if task.continuous else logistic
    return _probe("linear_probe", what, "strength", task, fit, options, per_class, seeds)


def knn_probe(
    codes: Array,
    labels: Array,
    test_codes: Array,
    test_labels: Array,
    *,
    per_class: int | None = None,
    seeds: int | Sequence[int] = 0,
    ks: Sequence[int] = KS,
    standardise: bool = True,
) -> Result:
    """Accuracy on test rows of a vote of the k nearest training codes, or R^2 of their mean.

    ``ks`` are the numbers of neighbours to choose among (those that the training part has rows
    for); of equally good ones the largest is taken. Ties of a vote go to the class of the nearer
    row. Everything else is as for :func:`linear_probe`.
    """
    task = _Task.of(codes, labels, test_codes, test_labels, standardise)
    if not ks:
        raise IsthmusError("ks is empty: pass the numbers of neighbours to choose among")
    options = sorted((whole(k, "k", 1) for k in ks), reverse=True)
    fit = neighbour_means if task.continuous else neighbour_votes
    what = ("vote", "mean")[task.continuous] + " of the k nearest codes"
    return _probe("knn_probe", what, "k", task, fit, options, per_class, seeds)


@dataclass(frozen=True)
class _Task:
    """Scaled codes, and labels as values or as class numbers (-1: not in training)."""

    rows: np.ndarray
    target: np.ndarray
    test_rows: np.ndarray
    test_target: np.ndarray
    continuous: bool
    note: str
    scaled: str

    @classmethod
    def of(
        cls,
        codes: Array,
        labels: Array,
        test_codes: Array,
        test_labels: Array,
        standardise: bool,
    ) -> "_Task":
        rows, test_rows = matrix(codes, "codes", 2), matrix(test_codes, "test codes")
        if rows.shape[1] != test_rows.shape[1]:
            raise IsthmusError(
                f"codes of {rows.shape[1]} and test codes of {test_rows.shape[1]} elements do not "
                "fit: pass codes of one model"
            )
        # A latent that never varies would be divided by its rounding.
        mean, std = rows.mean(0), rows.std(0)
        varies = std > 1e-12 * np.abs(mean)
        if not standardise and varies.any():
            std = np.full_like(std, np.sqrt(np.square(std[varies]).mean()))
        std = np.where(varies, std, 1.0)
        note = ""
        continuous = _continuous(labels)
        if continuous:
            target, test_target = vector(labels, "labels"), vector(test_labels, "test labels")
            if target.min() == target.max() or test_target.min() == test_target.max():
                raise IsthmusError("the labels do not vary: there is nothing to regress on")
        else:
            names, target = classes(labels, "labels")
            if len(names) < 2:
                raise IsthmusError("the labels name one class only: pass rows of two or more")
            test_names, test_number = classes(test_labels, "test labels")
            number = {name: at for at, name in enumerate(names.tolist())}
            known = np.array([number.get(name, -1) for name in test_names.tolist()])
            test_target = known[test_number]
            unseen = int((test_target < 0).sum())
            note = f"{unseen} test rows are of classes without training rows" if unseen else ""
        same_rows(rows, "codes", target, "labels")
        same_rows(test_rows, "test codes", test_target, "test labels")
        scaled = (rows - mean) / std, target, (test_rows - mean) / std, test_target
        return cls(*scaled, continuous, note, "" if standardise else ", codes not standardised")


def _continuous(labels: Array) -> bool:
    values = plain(labels)
    return values.dtype.kind == "f" and bool((values != np.floor(values)).any())


def _probe(
    name: str,
    what: str,
    setting: str,
    task: _Task,
    fit: _Fit,
    options: Sequence,
    per_class: int | None,
    seeds: int | Sequence[int],
) -> Result:
    chosen_seeds = [seeds] if isinstance(seeds, (int, np.integer)) else list(seeds)
    if not chosen_seeds:
        raise IsthmusError("no seed is given: pass seeds, one number or several")
    predicted, best_options, notes = [], [], [task.note]
    for seed in chosen_seeds:
        rng = np.random.default_rng(whole(seed, "seed", 0))
        labelled = _few(task, per_class, rng)
        option, note = _choose(task, fit, options, labelled, rng)
        fitted = fit(task.rows[labelled], task.target[labelled], [option], task.test_rows)
        predicted.append(fitted[0][0])
        best_options.append(f"{option:g}")
        notes += [note, "" if fitted[1] else "a fit did not converge"]
    per, interval, ends = _scored(task, np.stack(predicted))
    measure = "R^2" if task.continuous else "accuracy"
    few = "" if per_class is None else f", {per_class} labels a class"
    listed = ", ".join(dict.fromkeys(best_options))
    how = f"{measure} on test rows of {what} ({setting} {listed}, chosen on training rows{few})"
    how += task.scaled
    if len(per) > 1:
        how += f", mean over {len(per)} seeds"
    return Result(
        name,
        float(per.mean()),
        True,
        interval,
        len(task.test_rows),
        f"{how}; {ends if interval else 'no interval'}",
        "" if task.continuous else "fraction",
        per,
        "; ".join(dict.fromkeys([*filter(None, notes), *([] if interval else [STILL])])),
    )


def _few(task: _Task, per_class: int | None, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the training rows whose labels are used."""
    if per_class is None:
        return np.arange(len(task.rows))
    if task.continuous:
        raise IsthmusError("per_class needs classes, and the labels are continuous: leave it out")
    whole(per_class, "per_class", 1)
    counts = np.bincount(task.target)
    if counts.min() < per_class:
        raise IsthmusError(
            f"a class has {counts.min()} training rows, fewer than per_class = {per_class}: pass "
            "a smaller per_class"
        )
    drawn = [
        rng.permutation(np.flatnonzero(task.target == c))[:per_class] for c in range(len(counts))
    ]
    return np.concatenate(drawn)


def _choose(
    task: _Task, fit: _Fit, options: Sequence, labelled: np.ndarray, rng: np.random.Generator
) -> tuple[float, str]:
    """The setting that does best on rows held out of the labelled ones, and a note."""
    held = _held_out(task, labelled, rng)
    train, valid = labelled[~held], labelled[held]
    if fit in (neighbour_votes, neighbour_means):
        fitting = [k for k in options if k <= len(train)]
        if not fitting:
            raise IsthmusError(
                f"{len(train)} training rows have no {options[-1]} neighbours: pass a smaller k"
            )
        options = fitting
    if len(options) == 1:
        return options[0], ""
    if len(valid) == 0 or (not task.continuous and len(np.unique(task.target[train])) < 2):
        middle = options[len(options) // 2]
        return middle, f"too few labels to hold any out: {middle:g} was taken, not chosen"
    predicted, _ = fit(task.rows[train], task.target[train], options, task.rows[valid])
    truth = task.target[valid]
    errors = [
        ((guess - truth) ** 2).mean() if task.continuous else (guess != truth).mean()
        for guess in predicted
    ]
    return options[int(np.argmin(errors))], ""


def _held_out(task: _Task, labelled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which labelled rows are held out: a fifth, of each class with two rows or more."""
    held = np.zeros(len(labelled), dtype=bool)
    target = task.target[labelled]
    groups = [np.arange(len(labelled))]
    if not task.continuous:
        groups = [np.flatnonzero(target == c) for c in np.unique(target)]
    for group in groups:
        size = max(1, round(HELD_OUT * len(group))) if len(group) > 1 else 0
        held[rng.permutation(group)[:size]] = True
    return held


def _scored(
    task: _Task, predicted: np.ndarray
) -> tuple[np.ndarray, tuple[float, float] | None, str]:
    """The value of each seed, the interval of their mean, and how that was found."""
    truth = task.test_target
    seeds, rows = predicted.shape
    if task.continuous:
        errors = (predicted - truth) ** 2
        centred = truth - truth.mean()
        per = 1 - errors.sum(1) / (centred**2).sum()
    else:
        errors = (predicted != truth).astype(np.float64)
        per = 1 - errors.mean(1)
        if seeds == 1:
            return (
                per,
                wilson(float(rows - errors.sum()), rows),
                "Wilson's 95 % interval over test rows",
            )
    rng, values = np.random.default_rng(0), []
    for size in blocks(DRAWS, rows + seeds):
        counts = resample(np.arange(rows), rows, size, rng)
        of_seeds = resample(np.arange(seeds), seeds, size, rng) / seeds
        lost = (of_seeds * (counts @ errors.T)).sum(1)
        spread: float | np.ndarray = rows
        if task.continuous:
            spread = counts @ centred**2 - (counts @ centred) ** 2 / rows
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample of one value
            values.append(1 - lost / spread)
    over = "test rows" if seeds == 1 else "test rows and seeds"
    low = -np.inf if task.continuous else 0
    interval = percentile(np.concatenate(values), float(per.mean()), low, 1)
    return per, interval, f"95 % percentile bootstrap over {over}, {DRAWS} resamples"
