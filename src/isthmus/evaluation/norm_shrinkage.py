"""Are reconstructions too short: the bias that penalties on the size of latents bring."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder, SparseCode, ThresholdCode, Tree
from isthmus.anatomy.tree import leaves, mapped, observed
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import float64
from isthmus.evaluation.intervals import grouped_interval
from isthmus.evaluation.reconstruction import GROUPS, _pair, group_of_row
from isthmus.evaluation.registry import MeasuredBatch, MeasureOptions, measures
from isthmus.evaluation.result import Result

UNRELATED = 1e-12
"""A correlation of data and reconstruction up to this is rounding."""


class Shrinkage:
    """How much shorter reconstructions are than they should be, streamed.

    :meth:`factor` is the *relative reconstruction bias* of Rajamanoharan et al. (2024, Improving
    Dictionary Learning with Gated Sparse Autoencoders, section 5.1), the number gamma for which
    ``reconstruction / gamma`` comes nearest to the data: ``E|x^|^2 / E[x . x^]``. At 1 no common
    factor would lower the error, below 1 reconstructions are too short. :meth:`norm_ratio` is the
    plain ratio of lengths, ``sqrt(E|x^|^2 / E|x|^2)``, which is below 1 for any imperfect
    reconstruction: with gamma = 1 and no mean error it is ``sqrt(1 - fvu)``.

    about
        The point ``(*shape)`` from which lengths are measured: by default the mean of all rows, so
        that a bias the decoder adds to every row hides nothing and neither figure changes when
        the data are shifted. Zeros give the formulas above to the letter; the decoder's bias
        measures the dictionary's part alone.

    Intervals are those of :class:`FVU`: the jackknife over 32 groups of rows. No value depends on
    how the rows were cut into batches.
    """

    def __init__(self, about: Array | None = None) -> None:
        self._about = None if about is None else float64(about).flatten()
        self._sums: _Sums | None = None

    def update(self, x: Array, recon: Array) -> "Shrinkage":
        """Take in rows ``(rows, *shape)`` and their reconstructions, of the same shape."""
        flat, rebuilt = _pair(x, recon)
        if self._sums is None:
            origin = flat[0] if self._about is None else self._about.to(flat.device)
            if origin.shape != flat[0].shape:
                raise IsthmusError(
                    f"about has {len(origin)} elements and a row has {flat.shape[1]}: pass the "
                    "point in the shape of one row"
                )
            self._sums = _Sums(origin, centred=self._about is None)
        self._sums.update(flat, rebuilt)
        return self

    def factor(self) -> Result:
        """The factor gamma, named ``shrinkage``; NaN where data and reconstruction are unrelated.

        The best factor to multiply reconstructions by is ``1 / gamma``. It is negative for a
        model so bad that its reconstructions point away from the data.
        """
        return self._result("shrinkage", _factor, "E|x^|^2 / E[x . x^]")

    def norm_ratio(self) -> Result:
        """Root mean square length of the reconstructions over that of the data."""
        return self._result("norm_ratio", _norm_ratio, "sqrt(E|x^|^2 / E|x|^2)")

    def _result(self, name: str, ratio: "_Ratio", formula: str) -> Result:
        if self._sums is None:
            raise IsthmusError("no rows have been seen: update with at least one row")
        value, interval = self._sums.of(ratio)
        note = "" if math.isfinite(value) else self._sums.why_not()
        if value < 0:
            note = "reconstructions point away from the data"
        where = "the mean of all rows" if self._about is None else "a given point"
        how = "jackknife 95 % interval over groups of rows" if interval else "no interval"
        return Result(
            name,
            value,
            None,
            interval,
            int(self._sums.counts.sum()),
            f"{formula} about {where}, float64; 1 is no shrinkage; {how}",
            "ratio",
            note=note,
        )


_Ratio = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From the sums of |x|^2, |x^|^2 and x . x^ to the figure, elementwise."""


def _factor(xx: np.ndarray, hh: np.ndarray, xh: np.ndarray) -> np.ndarray:
    related = np.abs(xh) > UNRELATED * np.sqrt(xx.clip(0) * hh.clip(0))
    return np.where(related, hh / np.where(related, xh, 1.0), np.nan)


def _norm_ratio(xx: np.ndarray, hh: np.ndarray, xh: np.ndarray) -> np.ndarray:
    return np.where(xx > 0, np.sqrt(hh.clip(0) / np.where(xx > 0, xx, 1.0)), np.nan)


class _Sums:
    """Sums over groups of rows of x, x^ and their products, as deviations from one point.

    Without a given point that is the first row, far nearer to the mean than zero is for data with
    a large mean; ``centred`` figures are then moved to the mean of the data.
    """

    def __init__(self, origin: Tensor, *, centred: bool) -> None:
        self.origin, self.centred = origin.clone(), centred
        self.counts = np.zeros(GROUPS)
        self.linear = origin.new_zeros(2, GROUPS, len(origin))
        self.quadratic = origin.new_zeros(3, GROUPS)

    def update(self, x: Tensor, recon: Tensor) -> None:
        groups = group_of_row(int(self.counts.sum()), len(x))
        self.counts += np.bincount(groups, minlength=GROUPS)
        index = torch.from_numpy(groups).to(x.device)
        dx, dh = x - self.origin, recon - self.origin
        for held, rows in zip(self.linear, (dx, dh), strict=True):
            held.index_add_(0, index, rows)
        products = (dx * dx, dh * dh, dx * dh)
        for held, rows in zip(self.quadratic, products, strict=True):
            held.index_add_(0, index, rows.sum(1))

    def of(self, ratio: _Ratio) -> tuple[float, tuple[float, float] | None]:
        """The figure from all rows, and its interval."""
        used = self.counts > 0
        mask = torch.from_numpy(used).to(self.origin.device)
        counts, linear = self.counts[used], self.linear[:, mask]
        quadratic = self.quadratic[:, mask]
        whole = self._moved(
            counts.sum(keepdims=True), linear.sum(1, keepdim=True), quadratic.sum(1, keepdim=True)
        )
        value = float(ratio(*whole)[0])
        if not math.isfinite(value) or used.sum() < 3:
            return value, None
        rest = self._moved(
            counts.sum() - counts,
            linear.sum(1, keepdim=True) - linear,
            quadratic.sum(1, keepdim=True) - quadratic,
        )
        return value, grouped_interval(value, ratio(*rest), counts)

    def why_not(self) -> str:
        if not bool(torch.isfinite(self.linear[1].sum(0)).all()):
            return "the reconstruction contains NaN or infinity"
        return "the data and the reconstruction do not vary together, so there is no ratio"

    def _moved(self, counts: np.ndarray, linear: Tensor, quadratic: Tensor) -> np.ndarray:
        """Sums of |x|^2, |x^|^2 and x . x^ about the point that was asked for, ``(3, groups)``."""
        sums = quadratic.cpu().numpy()
        if not self.centred:
            return sums
        x, h = linear
        along = x.square().sum(1).cpu().numpy() / counts
        across = (x * h).sum(1).cpu().numpy() / counts
        # For m the mean of x: sum |h - m|^2 = sum |h|^2 - 2 m . sum h + n |m|^2, and so on.
        return sums - np.stack([along, 2 * across - along, across])


def shrinkage(x: Array, recon: Array, *, about: Array | None = None) -> Result:
    """The factor gamma by which ``recon`` is too short for ``x``, both ``(rows, *shape)``.

    ``E|x^|^2 / E[x . x^]``; 1 is no shrinkage. See :class:`Shrinkage`, also for ``about``. Empty
    data, different shapes and data with NaN or infinity are an :class:`IsthmusError`.
    """
    return Shrinkage(about).update(x, recon).factor()


def norm_ratio(x: Array, recon: Array, *, about: Array | None = None) -> Result:
    """Root mean square length of ``recon`` over that of ``x``; arguments as `shrinkage`."""
    return Shrinkage(about).update(x, recon).norm_ratio()


class _OfModel:
    """In the user's units, or in the model's where the target is not the input."""

    def __init__(self, model: Autoencoder) -> None:
        self.model = model
        self.shrinkage = Shrinkage()

    def update(self, batch: MeasuredBatch) -> None:
        recon, target = self.model.likelihood.mean(batch.params), batch.target
        if self.model.target is None:
            target, recon = batch.x, self.model.scaler.inverse(recon, batch.x)
        self.shrinkage.update(_flat(target, batch.mask), _flat(recon, batch.mask))

    def results(self) -> list[Result]:
        return [self.shrinkage.factor(), self.shrinkage.norm_ratio()]


def _flat(tree: Tree, mask: Tree) -> Tensor:
    """The parts of a row side by side, with zeros where nothing was observed."""
    parts = [leaf for _, leaf in leaves(mapped(observed, tree, mask))]
    return parts[0] if len(parts) == 1 else torch.cat([part.flatten(1) for part in parts], 1)


@measures(SparseCode)
@measures(ThresholdCode)
def shrinkage_measure(setting: MeasureOptions) -> _OfModel | None:
    """What ``evaluate`` reports of sparse and thresholded codes and of kinds that extend them.

    Another kind of code asks for it by ``measures(MyCode)(shrinkage_measure)``.
    """
    return None if setting.model.decoder is None else _OfModel(setting.model)
