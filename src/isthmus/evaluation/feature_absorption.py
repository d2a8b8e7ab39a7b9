"""Feature absorption on planted hierarchies: does a child's latent speak for its parent?"""

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from isthmus.anatomy import Array, Autoencoder
from isthmus.errors import IsthmusError
from isthmus.evaluation.cosines import decoder_rows
from isthmus.evaluation.result import Result
from isthmus.evaluation.sparse_codes import followed, ones, sparse_codes, two_largest, union_f1

F1_RISE = 0.03
"""A further latent is one of a parent's while the F1 of their firing rises by more than this."""

COSINE = 0.025
"""The least cosine of an absorbing latent's decoder row with the parent's probe."""

MARGIN = 1.0
"""By how many logits the absorbing latent's effect must exceed that of any other."""

WEAK_PROBE = 0.6
"""A probe whose F1 is below this is mentioned in the note."""


class Absorption:
    """Absorption in one dictionary, on rows whose true coefficients and hierarchy are known.

    After Chanin et al. (2024, A is for Absorption). For each truth that has children (a *parent*),
    a logistic probe of the rows; its *main* latents; and of the probe's true positives those on
    which no main latent fires, yet one other latent alone carries the parent to the
    reconstruction: it is *absorbed* there. Rows of even number choose probes and main latents,
    those of odd number are judged.

    model
        With a dictionary as its decoder (one row for each latent) and any sparse code. A latent
        fires where its value is not zero, or as ``weak`` says.
    X, coefficients
        Rows ``(n, *shape)`` in the user's units, and the sparse or dense coefficients behind them
        ``(n, truths)``: a truth is on where its coefficient is not zero. ``Planted.sample`` gives
        both.
    parents
        For each truth its parent, an earlier truth, or -1: ``Planted.parents``.
    f1_rise, cosine, margin
        The paper's thresholds.
    weak
        A latent whose size is at most this share of its own largest does not count as firing. TopK
        fills all of its k places, if need be with values near zero; 0, the paper's, lets any value
        count.
    any_latent
        Let any latent absorb, as in the paper. By default only one that follows a descendant of
        the parent can, so that chance cosines of a dense dictionary do not count.
    probes
        Weights ``(truths, elements)`` and intercepts ``(truths,)`` of probes of one's own, in the
        user's units; those of truths without children are not read.

    Where this differs from the paper:

    - the effect of a latent on the concept's logit is ``z_i <d_i, p>``; as probe and decoder are
      both linear, integrated gradients of any number of steps give just that;
    - main latents are chosen among those that *follow* the parent: whose firing predicts it with a
      higher F1 than it predicts any other truth. Without known truth the paper cannot tell a split
      of the parent from a child's latent that came to stand for both; here that is just what
      distinguishes feature splitting from absorption. They are ranked by that F1, and added while
      the F1 of "any of them fires" rises by more than ``f1_rise``, in place of logistic probes on
      k latents;
    - a parent that no latent follows has no main latent, and so none that fires.

    Rows, coefficients or parents of different lengths, fewer than four rows, a hierarchy without
    children, a decoder that is no dictionary and a ``weak`` that is no share are an
    :class:`IsthmusError`.
    """

    def __init__(
        self,
        model: Autoencoder,
        X: Array,
        coefficients: Any,
        parents: Any,
        *,
        f1_rise: float = F1_RISE,
        cosine: float = COSINE,
        margin: float = MARGIN,
        weak: float = 0.0,
        any_latent: bool = False,
        probes: tuple[Array, Array] | None = None,
        batch_size: int = 1024,
    ) -> None:
        on = ones(csr_array(coefficients))
        self.parents = _hierarchy(parents, on.shape[1])
        if len(X) != on.shape[0] or len(X) < 4:
            raise IsthmusError(
                f"there are {len(X)} rows and {on.shape[0]} rows of coefficients: pass the "
                "coefficients behind these rows, four or more"
            )
        self.cosine, self.margin, self.any_latent = cosine, margin, any_latent
        self.atoms = decoder_rows(model).cpu().double().numpy()
        codes = sparse_codes(model, X, batch_size)
        fired = ones(_strong(codes, weak))
        self._codes, self._fired = csr_array(codes[1::2]), fired[1::2].tocsc()
        self._on, chosen_on = on[1::2].tocsc(), on[::2].tocsc()
        self.follows, self.f1 = followed(csr_array(fired[::2]), csr_array(on[::2]))
        """Which truth each latent follows (-1 for none), and with which F1, both ``(latents,)``."""
        self.concepts = np.unique(self.parents[self.parents >= 0])
        """The truths that have children."""
        early = fired[::2].tocsc()
        self.main = {
            p: self._grown(p, early, _column(chosen_on, p), f1_rise) for p in self.concepts.tolist()
        }
        """For each parent the numbers of its main latents, best first."""
        rows = _flat(X)
        self._logits, self.probes = {}, {}
        for p in self.concepts.tolist():
            if probes is None:
                probe = _logistic(rows[::2], _column(chosen_on, p))
            else:
                probe = _given(probes, p, rows.shape[1], on.shape[1])
            if probe is not None:
                self.probes[p] = probe
                self._logits[p] = rows[1::2] @ probe[0] + probe[1]

    def rate(self) -> Result:
        """Absorbed rows over the probe's true positives, mean over parents.

        ``per`` is the rate of each truth, NaN where it has no children or its probe has no true
        positive.
        """
        per = np.full(len(self.parents), np.nan)
        for p in self.probes:
            true_positives = np.flatnonzero(_column(self._on, p) & (self._logits[p] > 0))
            if len(true_positives):
                per[p] = self._absorbed(p, true_positives).mean()
        weak = [p for p in self.probes if self._probe_f1(p) < WEAK_PROBE]
        notes = [
            _count(sum(len(main) == 0 for main in self.main.values()), "followed by no latent"),
            _count(int(np.isnan(per[self.concepts]).sum()), "never found by a probe, left out"),
            _count(len(weak), f"found by a probe of F1 below {WEAK_PROBE:g}"),
        ]
        what = (
            "share of a probe's true positives on which no main latent of the parent fires and "
            f"{'another' if self.any_latent else 'one of a descendant'} carries it by a margin of "
            f"{self.margin:g} logits, mean over parents"
        )
        return self._result("absorption", per, False, what, notes)

    def silence(self) -> Result:
        """How often a parent's latents are silent with parent and child on, mean over children.

        ``per`` is the share for each child, NaN for roots, for children that are never on together
        with their parent, and where no latent follows the parent.
        """
        per = np.full(len(self.parents), np.nan)
        for child in np.flatnonzero(self.parents >= 0).tolist():
            p = int(self.parents[child])
            both = _column(self._on, p) & _column(self._on, child)
            if both.any() and len(self.main[p]):
                per[child] = (~self._fires(self.main[p])[both]).mean()
        notes = [_count(sum(len(m) == 0 for m in self.main.values()), "followed by no latent")]
        what = "share of rows with parent and child on where no main latent of the parent fires"
        return self._result("parent_silence", per, False, f"{what}, mean over children", notes)

    def child_cosine(self, directions: Array) -> Result:
        """Cosine of a child's latent with its parent's direction, mean over children.

        The child's latent is the one that follows it with the highest F1; ``directions`` are the
        true ones ``(truths, elements)``. Without absorption it is the cosine of the two true
        directions. ``per`` is for each child, NaN for roots and children that no latent follows.
        """
        truth = _flat(directions)
        if truth.shape != (len(self.parents), self.atoms.shape[1]):
            raise IsthmusError(
                f"directions have the shape {truth.shape}: pass one row of {self.atoms.shape[1]} "
                f"for each of {len(self.parents)} truths"
            )
        per = np.full(len(self.parents), np.nan)
        for child in np.flatnonzero(self.parents >= 0).tolist():
            latents = np.flatnonzero(self.follows == child)
            if len(latents):
                best = self.atoms[latents[self.f1[latents].argmax()]]
                per[child] = _cosines(best[None], truth[self.parents[child]])[0]
        what = "cosine of the latent that follows a child with its parent's direction"
        return self._result("child_cosine", per, None, f"{what}, mean over children", [])

    def _grown(self, p: int, fired: Any, on: np.ndarray, rise: float) -> np.ndarray:
        """The parent's main latents, best first."""
        candidates = np.flatnonzero(self.follows == p)
        candidates = candidates[np.argsort(-self.f1[candidates], kind="stable")]
        any_fired, reached, main = np.zeros(len(on), dtype=bool), 0.0, []
        for latent in candidates.tolist():
            with_it = any_fired | _column(fired, latent)
            score = union_f1(with_it, on)
            if score - reached <= rise:
                break
            any_fired, reached = with_it, score
            main.append(latent)
        return np.array(main, dtype=np.int64)

    def _fires(self, latents: np.ndarray) -> np.ndarray:
        """On which of the judged rows any of these latents fires."""
        return np.asarray(self._fired[:, latents].sum(1)).ravel() > 0

    def _absorbed(self, p: int, true_positives: np.ndarray) -> np.ndarray:
        """Which of these true positives are absorbed."""
        weight = self.probes[p][0]
        top, first, second = two_largest(self._codes[true_positives], self.atoms @ weight)
        near = _cosines(self.atoms, weight)[top] >= self.cosine
        allowed = np.ones(len(self.atoms), dtype=bool)
        if not self.any_latent:
            allowed = _below(self.parents, p)[self.follows] & (self.follows >= 0)
        silent = ~self._fires(self.main[p])[true_positives]
        return silent & (top >= 0) & near & allowed[top] & (first - second >= self.margin)

    def _probe_f1(self, p: int) -> float:
        return union_f1(self._logits[p] > 0, _column(self._on, p))

    def _result(
        self, name: str, per: np.ndarray, better: bool | None, what: str, notes: list[str]
    ) -> Result:
        seen = per[~np.isnan(per)]
        value = float(seen.mean()) if len(seen) else float("nan")
        if not len(seen):
            notes = [*notes, "no parent could be judged: pass more rows"]
        unit = "cosine" if name == "child_cosine" else "fraction"
        note = "; ".join(note for note in notes if note)
        rows = self._codes.shape[0]
        return Result(name, value, better, None, rows, f"{what}; no interval", unit, per, note)


def absorption(
    model: Autoencoder, X: Array, coefficients: Any, parents: Any, **options: Any
) -> Result:
    """Share of a parent's rows that a child's latent has taken over, mean over parents.

    Arguments, options and errors as for :class:`Absorption`, ``per`` as for
    :meth:`Absorption.rate`.
    """
    return Absorption(model, X, coefficients, parents, **options).rate()


def _hierarchy(parents: Any, truths: int) -> np.ndarray:
    given = np.asarray(parents)
    if given.shape != (truths,) or not np.issubdtype(given.dtype, np.integer):
        raise IsthmusError(
            f"a hierarchy names the parent of each of {truths} truths by number: pass "
            f"({truths},) integers"
        )
    if (given >= np.arange(truths)).any() or (given < -1).any():
        raise IsthmusError("a truth's parent must be an earlier truth, or -1: reorder the truths")
    if not (given >= 0).any():
        raise IsthmusError("no truth has a parent, so nothing can be absorbed: plant a tree")
    return given.astype(np.int64)


def _below(parents: np.ndarray, p: int) -> np.ndarray:
    """Which truths descend from ``p``."""
    below = np.zeros(len(parents), dtype=bool)
    for truth in range(p + 1, len(parents)):
        parent = parents[truth]
        below[truth] = parent == p or (parent >= 0 and below[parent])
    return below


def _strong(codes: csr_array, weak: float) -> csr_array:
    """The codes without entries of at most that share of their latent's largest size."""
    if not 0.0 <= weak < 1.0:
        raise IsthmusError(f"weak={weak:g} is no share of a latent's largest value: pass [0, 1)")
    sizes = abs(codes)
    largest = sizes.max(axis=0).toarray().ravel()
    kept = np.where(sizes.data > weak * largest[codes.indices], codes.data, 0.0)
    return csr_array((kept, codes.indices, codes.indptr), shape=codes.shape)


def _column(matrix: Any, number: int) -> np.ndarray:
    """A column of a matrix of zeros and ones in CSC form, as booleans."""
    dense = np.zeros(matrix.shape[0], dtype=bool)
    dense[matrix.indices[matrix.indptr[number] : matrix.indptr[number + 1]]] = True
    return dense


def _flat(X: Array) -> np.ndarray:
    rows = X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else np.asarray(X)
    return rows.reshape(len(rows), -1).astype(np.float64)


def _logistic(rows: np.ndarray, on: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Weights and intercept; None where only one class is seen."""
    if on.all() or not on.any():
        return None
    # Slow to import, and only this needs it.
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(solver="newton-cholesky").fit(rows, on)
    return fitted.coef_[0], float(fitted.intercept_[0])


def _given(probes: tuple[Array, Array], p: int, size: int, truths: int) -> tuple[np.ndarray, float]:
    weights, intercepts = _flat(probes[0]), _flat(probes[1])[:, 0]
    if weights.shape != (truths, size) or intercepts.shape != (truths,):
        raise IsthmusError(
            f"probes need weights ({truths}, {size}) and intercepts ({truths},), not "
            f"{weights.shape} and {intercepts.shape}"
        )
    return weights[p], float(intercepts[p])


def _cosines(rows: np.ndarray, direction: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(direction)
    return (rows @ direction) / np.where(lengths > 0, lengths, 1.0)


def _count(number: int, what: str) -> str:
    return f"{number} parents are {what}" if number else ""
