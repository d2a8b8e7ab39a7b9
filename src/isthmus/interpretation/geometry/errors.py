"""What of a reconstruction's error is linear in the data: the dark matter of dictionaries."""

from dataclasses import dataclass, replace

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation import Result, fvu

RCOND = 1e-12
"""Directions of the data whose variance is below this share of the largest are not fitted."""


@dataclass(frozen=True, eq=False)
class ErrorParts:
    """The error of a reconstruction on the rows that nothing was fitted on.

    rows
        int64 ``(measured,)``, the numbers of these rows.
    error
        Data less reconstruction, float64 ``(measured, elements)``.
    linear
        What a linear map of the data, with bias, says of it; fitted on the other rows.
    squared_norm
        What such a map says of the error's squared norm, ``(measured,)``.
    """

    rows: np.ndarray
    error: np.ndarray
    linear: np.ndarray
    squared_norm: np.ndarray

    @property
    def nonlinear(self) -> np.ndarray:
        """The rest of the error, ``(measured, elements)``."""
        return self.error - self.linear


def split_error(x: Array, recon: Array, *, seed: int = 0) -> ErrorParts:
    """Split the error ``x - recon`` into a part that is linear in ``x`` and the rest.

    Engels, Riggs & Tegmark (2024, Decomposing The Dark Matter of Sparse Autoencoders, section 4).
    Both arrays are ``(rows, *shape)``. The maps are found by least squares on a half of the rows
    drawn by ``seed``, and the parts are those of the other half, so that chance agreement does not
    count. Fewer rows than four times the elements, different shapes, NaN and infinity are an
    :class:`IsthmusError`.
    """
    rows, error = _rows_and_error(x, recon)
    if len(rows) < 4 * rows.shape[1]:
        raise IsthmusError(
            f"{len(rows)} rows of {rows.shape[1]} elements are too few to fit a linear map on half "
            f"of them: pass {4 * rows.shape[1]} or more"
        )
    order = np.random.default_rng(seed).permutation(len(rows))
    fitted, measured = order[: len(rows) // 2], np.sort(order[len(rows) // 2 :])
    targets = np.column_stack([error, (error**2).sum(1)])
    predictions = _regressed(rows[fitted], targets[fitted], rows[measured])
    return ErrorParts(measured, error[measured], predictions[:, :-1], predictions[:, -1])


def error_decomposition(x: Array, recon: Array, *, seed: int = 0) -> dict[str, Result]:
    """How much of the error is linear in the data, by name.

    ``error_r2``
        R² of the error vector regressed on ``x``.
    ``norm_r2``
        R² of its squared norm regressed on ``x``.
    ``fvu``, ``nonlinear_fvu``, ``linear_fvu``
        Fraction of variance unexplained by the reconstruction, by the reconstruction together with
        the linear part of its error, and their difference.

    All are of the rows that :func:`split_error` measures on, which see for arguments and errors.
    Intervals take rows for independent: those of tokens of one text are too narrow.
    """
    parts = split_error(x, recon, seed=seed)
    rows = _flat(x)[parts.rows]
    whole = fvu(rows, rows - parts.error)
    rest = replace(fvu(rows, rows - parts.nonlinear), name="nonlinear_fvu")
    squared = (parts.error**2).sum(1)[:, None]
    linear = Result(
        "linear_fvu", whole.value - rest.value, None, None, whole.n,
        "FVU less nonlinear FVU; no interval", "fraction",
    )  # fmt: skip
    return {
        "error_r2": _explained("error_r2", parts.error, parts.linear),
        "norm_r2": _explained("norm_r2", squared, parts.squared_norm[:, None]),
        "fvu": whole,
        "nonlinear_fvu": rest,
        "linear_fvu": linear,
    }


def _explained(name: str, targets: np.ndarray, predictions: np.ndarray) -> Result:
    """R², as one minus the fraction of variance unexplained."""
    rest = fvu(targets, predictions)
    ends = rest.interval
    return replace(
        rest,
        name=name,
        value=1.0 - rest.value,
        higher_is_better=None,
        interval=None if ends is None else (1.0 - ends[1], 1.0 - ends[0]),
        estimator=f"1 - FVU of a linear map fitted on the other half of the rows: {rest.estimator}",
        per=None if rest.per is None else 1.0 - rest.per,
    )


def _regressed(x: np.ndarray, targets: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Least squares with bias, by the normal equations of centred rows."""
    mean, goal = x.mean(0), targets.mean(0)
    centred = x - mean
    gram = centred.T @ centred
    weight = np.linalg.lstsq(gram, centred.T @ (targets - goal), rcond=RCOND)[0]
    predictions: np.ndarray = (new - mean) @ weight + goal
    return predictions


def _rows_and_error(x: Array, recon: Array) -> tuple[np.ndarray, np.ndarray]:
    if tuple(x.shape) != tuple(recon.shape):
        raise IsthmusError(
            f"the reconstruction has shape {tuple(recon.shape)} and the data have shape "
            f"{tuple(x.shape)}: pass arrays of the same shape"
        )
    rows, outputs = _flat(x), _flat(recon)
    for what, values in (("data", rows), ("reconstructions", outputs)):
        if not np.isfinite(values).all():
            raise IsthmusError(f"the {what} contain NaN or infinity: drop these rows first")
    return rows, rows - outputs


def _flat(values: Array) -> np.ndarray:
    plain = values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
    return np.asarray(plain, np.float64).reshape(len(plain), -1)
