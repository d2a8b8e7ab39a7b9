"""How many latents fire, and which ones never or nearly always do."""

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Code, SparseCode
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import need_rows
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.result import Result

DENSE_RATE = 0.1
"""A latent that fires on a larger share of rows than this counts as dense."""


class Firing:
    """Which latents fire, streamed: feed codes, then ask for the results.

    A latent fires on a row where its value is not zero; a selected latent whose value is zero
    (a padded or rectified top-k entry) has not fired.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None
        self._rows = Moments()

    def update(self, code: Array | Code) -> "Firing":
        """Take in dense ``(rows, *latent)`` values or a code; a sparse one stays sparse.

        The indices of a :class:`SparseCode` are taken to be distinct within a row. Of codes of
        several positions (``temporal``) each position is a row.
        """
        code = code.by_position() if isinstance(code, Code) else code
        if isinstance(code, SparseCode):
            return self._sparse(code)
        z = code.z if isinstance(code, Code) else code
        need_rows(z, "codes")
        fired = torch.as_tensor(np.asarray(z) if not isinstance(z, Tensor) else z) != 0
        fired = fired.flatten(1)
        return self._take(fired.sum(1), fired.sum(0))

    def _sparse(self, code: SparseCode) -> "Firing":
        need_rows(code.values, "codes")
        fired = code.values.detach() != 0
        counts = torch.bincount(code.indices[fired], minlength=code.width)
        return self._take(fired.sum(1), counts)

    def _take(self, per_row: Tensor, per_latent: Tensor) -> "Firing":
        per_latent = per_latent.cpu()
        if self._counts is not None and len(self._counts) != len(per_latent):
            raise IsthmusError(
                f"codes of {len(per_latent)} latents follow codes of {len(self._counts)}: pass "
                "codes of one width"
            )
        self._counts = per_latent if self._counts is None else self._counts + per_latent
        self._rows.update(per_row)
        return self

    @property
    def rates(self) -> np.ndarray:
        """Share of rows on which each latent fired, ``(latents,)``."""
        if self._counts is None:
            raise IsthmusError("no codes have been seen: update with at least one row")
        return self._counts.numpy() / self._rows.count

    def l0(self) -> Result:
        """Mean number of latents that fire on a row; ``per`` is the rate of each latent."""
        return Result.of_mean(
            "l0",
            self._rows,
            higher_is_better=None,
            what="the number of latents that are not zero",
            unit="latents per row",
            per=self.rates,
        )

    def dead_share(self) -> Result:
        """Share of latents that fired on no row; ``per`` is the rate of each latent.

        What counts as dead depends on how many rows there are: of a latent that fired on none of
        n nothing is known but that its rate is below 3 / n, at 95 % (the rule of three; Hanley,
        Lippman-Hand 1983). Papers say "dead" of millions of tokens. The result names its n.
        """
        rows = self._rows.count
        never = self.rates == 0
        return self._share(
            "dead_share", never, f"fired on none of {rows:,} rows (a rate below {3 / rows:.2g})"
        )

    def dense_share(self, rate: float = DENSE_RATE) -> Result:
        """Share of latents that fired on more than ``rate`` of the rows; ``per`` as above."""
        what = f"fired on more than {100 * rate:g} % of the rows"
        return self._share("dense_share", self.rates > rate, what)

    def _share(self, name: str, which: np.ndarray, what: str) -> Result:
        estimator = f"share of latents that {what}; no interval"
        value, n = float(which.mean()), self._rows.count
        return Result(name, value, False, None, n, estimator, "fraction", self.rates)


def l0(code: Array | Code) -> Result:
    """Mean number of latents per row that are not zero; ``per`` is the firing rate of each.

    ``code`` is a dense array ``(rows, *latent)`` or a :class:`Code`; a sparse one is not made
    dense. No rows are an :class:`IsthmusError`.
    """
    return Firing().update(code).l0()


def dead_share(code: Array | Code) -> Result:
    """Share of latents that fired on none of these rows, in [0, 1]; ``per`` is each one's rate.

    See :meth:`Firing.dead_share` for what so many rows can tell.
    """
    return Firing().update(code).dead_share()


def dense_share(code: Array | Code, rate: float = DENSE_RATE) -> Result:
    """Share of latents that fired on more than ``rate`` of the rows; ``per`` as above."""
    return Firing().update(code).dense_share(rate)
