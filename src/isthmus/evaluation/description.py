"""Bits per row of a lossy code: the description length at a stated distortion."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csr_array, issparse

from isthmus.anatomy import Array, Autoencoder, Code
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import flat_rows, need_rows
from isthmus.evaluation.cosines import decoder_rows
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.result import Result
from isthmus.evaluation.sparse_codes import nonzero

PIECE = 2**22
"""Elements of reconstructions held at once."""

STEP = 2.0**0.25
"""Ratio of neighbouring bin widths that are tried, from the coarsest down."""

REFINEMENTS = 5
"""Halvings of the last step: the bin width found is within 0.6 % of the coarsest."""

FINEST = 2.0**-40
"""Least bin width relative to the largest value."""


def description_length(
    codes: Array | Code | csr_array,
    tolerance: float,
    atoms: Array | Autoencoder | None = None,
    *,
    residual: Array | None = None,
    fixed: bool = False,
) -> Result:
    """Bits that a row costs when its code is sent at the coarsest precision that will do.

    The description length of Ayonrinde, Pearce & Sharkey (2024, Interpretability as Compression):
    values are rounded to multiples of one bin width, the coarsest that raises the mean squared
    error by no more than ``tolerance``, and latents are coded one by one: the sum over latents of
    the entropy of their rounded values, zero being a value like any other. What both ends have to
    know beforehand, the dictionary and the frequencies, is not counted. Frequencies are those of
    the very rows given, so that few rows in many bins look cheaper than they would be.

    codes
        ``(rows, latents)``, dense, sparse or a :class:`Code`.
    tolerance
        Extra squared error per element, mean over rows, in squared units of the reconstruction.
    atoms
        The linear decoder: what one unit of each latent adds to the reconstruction, ``(latents,
        elements)``, or a model with a dictionary (in the user's units). Without it the codes
        themselves are what is rebuilt.
    residual
        Data minus reconstruction, ``(rows, elements)``. With it the extra error is that of the
        rounded reconstruction less that of the exact one, on the data; without it the squared
        distance of both reconstructions, which is the same where residuals and rounding errors
        are uncorrelated.
    fixed
        Words of equal length in place of an entropy code: for each latent, the logarithm of the
        number of bins from its smallest to its largest value.

    ``per`` is the number of bits of each latent. The interval is that of the mean over rows. No
    rows, values that are not finite, different lengths and a tolerance that is not positive are an
    :class:`IsthmusError`.
    """
    values = _codes(codes)
    width = coarsest_bins(values, tolerance, atoms, residual=residual)
    return coded_bits(values, width, fixed=fixed)


def coarsest_bins(
    codes: Array | Code | csr_array,
    tolerance: float,
    atoms: Array | Autoencoder | None = None,
    *,
    residual: Array | None = None,
) -> float:
    """The bin width of :func:`description_length`, infinite where all values may be rounded to 0.

    Widths are tried from twice the largest value down by factors of 2^(1/4) until the extra error
    is within the tolerance; the last step is then refined by bisection. Arguments and errors as
    there.
    """
    if not tolerance > 0 or not math.isfinite(tolerance):
        raise IsthmusError(
            f"a tolerance of {tolerance:g} cannot be met by rounding: pass a positive number, the "
            "extra squared error per element"
        )
    values = _codes(codes)
    rows = _atoms(atoms, values.shape[1])
    rest = None if residual is None else flat_rows(residual, "residuals").numpy()
    elements = values.shape[1] if rows is None else rows.shape[1]
    if rest is not None and rest.shape != (values.shape[0], elements):
        raise IsthmusError(
            f"the residuals have the shape {rest.shape}: pass ({values.shape[0]}, {elements}), "
            "data minus reconstruction"
        )
    largest = float(np.abs(values.data).max(initial=0.0))
    if _extra(values, math.inf, rows, rest) <= tolerance:
        return math.inf
    width = 2.0 * largest / STEP
    while _extra(values, width, rows, rest) > tolerance:
        width /= STEP
        if width < FINEST * largest:
            raise IsthmusError(
                f"a tolerance of {tolerance:g} is below what rounding of the values can reach: "
                "pass a larger one"
            )
    within, beyond = width, width * STEP
    for _ in range(REFINEMENTS):
        middle = math.sqrt(within * beyond)
        if _extra(values, middle, rows, rest) <= tolerance:
            within = middle
        else:
            beyond = middle
    return within


def coded_bits(codes: Array | Code | csr_array, bin_width: float, *, fixed: bool = False) -> Result:
    """Bits per row of ``codes`` rounded to multiples of ``bin_width``, each latent on its own.

    The sum over latents of the entropy of the rounded values; infinite bins leave nothing to send.
    Arguments, ``per`` and errors as for :func:`description_length`.
    """
    rounded = _rounded(codes, bin_width)
    how = f"latents coded apart, bins of width {bin_width:.4g}"
    if fixed:
        return _fixed(rounded, how)
    entropies, per_row = _surprisal(rounded)
    return Result.of_mean(
        "description_length",
        Moments().update(per_row),
        higher_is_better=False,
        what=f"the ideal code length under the rows' own frequencies, {how}",
        unit="bits per row",
        per=entropies,
    )


def row_bits(codes: Array | Code | csr_array, bin_width: float) -> np.ndarray:
    """The ideal code length of each row, float64 ``(rows,)``, whose mean :func:`coded_bits` gives.

    Arguments and errors as there.
    """
    return _surprisal(_rounded(codes, bin_width))[1]


def _rounded(codes: Array | Code | csr_array, bin_width: float) -> csr_array:
    """The codes as whole numbers of bins, without stored zeros."""
    if not bin_width > 0:
        raise IsthmusError(f"bins of width {bin_width:g} hold nothing: pass a positive width")
    rounded = csr_array(_codes(codes), copy=True)
    rounded.data = np.rint(rounded.data / bin_width)
    rounded.eliminate_zeros()
    return rounded


def dense_length(
    X: Array, distortion: float, *, basis: Array | None = None, fixed: bool = False
) -> Result:
    """Bits per row of the dense reference code: principal components, rounded to one bin width.

    All components of ``basis`` (by default of ``X`` itself; both ``(rows, *shape)``) at the
    coarsest bin width whose squared error per element is within ``distortion``. Components of small
    variance then round to zero and cost nothing, as in reverse water-filling (Cover & Thomas 2006,
    section 10.3), so that no number of components has to be chosen. Frequencies are those of
    ``X``. ``fixed``, ``per`` (of each component) and errors as for :func:`description_length`.
    """
    rows = flat_rows(X, "rows").numpy()
    known = rows if basis is None else flat_rows(basis, "rows of the basis").numpy()
    if known.shape[1] != rows.shape[1]:
        raise IsthmusError(
            f"the basis comes from rows of {known.shape[1]} elements and X has {rows.shape[1]}: "
            "pass rows of one length"
        )
    centre = known.mean(0)
    axes = np.linalg.eigh(np.cov(known, rowvar=False, bias=True).reshape(2 * (known.shape[1],)))[1]
    return description_length((rows - centre) @ axes, distortion, axes.T, fixed=fixed)


def one_hot_length(labels: Array) -> Result:
    """Bits per row of the one-hot reference code: the entropy of the codeword's number.

    ``labels`` are ``(rows,)`` integers, such as each row's nearest centre of k-means. Rows that are
    all of them their own codeword cost ``log2(rows)``: memorisation, whose price is the codebook.
    """
    need_rows(labels, "labels")
    given = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else labels
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise IsthmusError(
            f"labels of shape {given.shape} and type {given.dtype} number no codewords: pass one "
            "integer for each row"
        )
    _, which, counts = np.unique(given, return_inverse=True, return_counts=True)
    return Result.of_mean(
        "one_hot_length",
        Moments().update(-np.log2(counts / len(given))[which]),
        higher_is_better=False,
        what="the ideal code length of the codeword's number under the rows' own frequencies",
        unit="bits per row",
    )


def _codes(codes: Array | Code | csr_array) -> csr_array:
    """Float64 ``(rows, latents)`` without stored zeros."""
    if isinstance(codes, Code):
        values = nonzero(codes)
    elif issparse(codes):
        values = csr_array(codes, dtype=np.float64, copy=True)
        values.sum_duplicates()
        values.eliminate_zeros()
    else:
        values = csr_array(flat_rows(codes, "codes").cpu().numpy())
    if 0 in values.shape:
        raise IsthmusError("the codes are empty: pass at least one row of one latent")
    if not np.isfinite(values.data).all():
        raise IsthmusError("the codes contain NaN or infinity: fit the model anew")
    return values


def _atoms(atoms: Array | Autoencoder | None, latents: int) -> np.ndarray | None:
    if atoms is None:
        return None
    given = decoder_rows(atoms) if isinstance(atoms, Autoencoder) else atoms
    rows = flat_rows(given, "atoms").cpu().numpy()
    if len(rows) != latents:
        raise IsthmusError(
            f"there are {len(rows)} atoms for {latents} latents: pass one row for each latent"
        )
    return rows


def _extra(
    values: csr_array, width: float, atoms: np.ndarray | None, residual: np.ndarray | None
) -> float:
    """How much rounding to that width adds to the squared error per element."""
    if math.isinf(width):
        change = -values.data
    else:
        change = width * np.rint(values.data / width) - values.data
    moved = csr_array((change, values.indices, values.indptr), shape=values.shape)
    elements = values.shape[1] if atoms is None else atoms.shape[1]
    if atoms is None and residual is None:
        return float(change @ change) / (values.shape[0] * elements)
    total = 0.0
    for part in _parts(values.shape[0], elements):
        shift = moved[part].toarray() if atoms is None else moved[part] @ atoms
        total += float((shift * shift).sum())
        if residual is not None:
            total -= 2.0 * float((shift * residual[part]).sum())
    return total / (values.shape[0] * elements)


def _parts(rows: int, elements: int) -> Iterator[slice]:
    step = max(1, PIECE // elements)
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _surprisal(rounded: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Entropy of each latent, ``(latents,)``, and ideal code length of each row, ``(rows,)``."""
    rows, latents = rounded.shape
    which, value = rounded.indices, rounded.data
    order = np.lexsort((value, which))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(which[order]) != 0) | (np.diff(value[order]) != 0)
    group = np.cumsum(first) - 1
    counts = np.bincount(group)
    bits = -np.log2(counts / rows)
    zeros = rows - np.bincount(which, minlength=latents)
    # A latent that is zero on no row has no zero to send.
    zero_bits = -np.log2(np.where(zeros > 0, zeros, rows) / rows)
    entropies = zero_bits * zeros / rows
    np.add.at(entropies, which[order][first], bits * counts / rows)
    of_entry = np.empty(len(order))
    of_entry[order] = bits[group] - zero_bits[which[order]]
    at = np.repeat(np.arange(rows), np.diff(rounded.indptr))
    return entropies, zero_bits.sum() + np.bincount(at, weights=of_entry, minlength=rows)


def _fixed(rounded: csr_array, how: str) -> Result:
    lowest, highest = rounded.min(axis=0).toarray(), rounded.max(axis=0).toarray()
    per = np.log2(highest.ravel() - lowest.ravel() + 1.0)
    what = f"words of equal length for the bins from smallest to largest value, {how}; no interval"
    return Result(
        "description_length",
        float(per.sum()),
        False,
        None,
        rounded.shape[0],
        what,
        "bits per row",
        per,
    )
