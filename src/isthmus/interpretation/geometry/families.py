"""Families of latents: general ones with the narrower ones that fire under them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, triu
from scipy.sparse.csgraph import minimum_spanning_tree

from isthmus.errors import IsthmusError

LEAST = 0.1
ROUNDS = 3
SAME = 0.6


@dataclass(frozen=True, eq=False)
class Family:
    """A latent and those that fire under it: ``children`` int64, sorted."""

    parent: int
    children: np.ndarray

    @property
    def members(self) -> frozenset[int]:
        """Parent and children."""
        return frozenset({self.parent, *self.children.tolist()})


def feature_families(
    fired: csr_array | np.ndarray,
    *,
    least: float = LEAST,
    rounds: int = ROUNDS,
    same: float = SAME,
) -> list[Family]:
    """Families by maximum spanning trees of the graph of co-firing.

    O'Neill, Ye, Iyer & Wu (2024, Disentangling Dense Embeddings with Sparse Autoencoders, section
    5). Two latents are as close as the share of the rarer one's rows in which the other fires too;
    what is below ``least`` is no edge. Edges of the maximum spanning tree point from the denser
    latent to the rarer. A latent to which no edge points is a parent, those that its edges point to
    are its children, and together they are a family (the authors' code also counts what lies below
    the children). Parents are then taken away and families are sought among the rest, ``rounds``
    rounds in all. A family that shares more than ``same`` (Jaccard index) of its members with one
    found before joins it: its members become children.

    ``fired`` is ``(rows, latents)``, sparse or dense: not zero where a latent fires. Latents that
    never fire, or with nobody, are in no family. Memory grows with the pairs that fire together.
    """
    on = csr_array(fired, dtype=np.float64, copy=True)
    on.eliminate_zeros()
    on.data[:] = 1.0
    if on.ndim != 2 or 0 in on.shape:
        raise IsthmusError(
            f"firings of the shape {on.shape} have no families: pass (rows, latents)"
        )
    rate = on.sum(0)
    together = triu(on.T @ on, k=1, format="coo")
    close = together.data / np.minimum(rate[together.row], rate[together.col])
    joined = close >= least
    ends = np.stack([together.row[joined], together.col[joined]])
    close = close[joined]
    available = np.ones(len(rate), bool)
    families: list[Family] = []
    for _ in range(rounds):
        inside = available[ends].all(0)
        new_families = list(_families(ends[:, inside], close[inside], rate))
        if not new_families:
            break
        for family in new_families:
            available[family.parent] = False
            _joined(families, family, same)
    return families


def _families(ends: np.ndarray, close: np.ndarray, rate: np.ndarray) -> Iterator[Family]:
    """The families of one maximum spanning forest."""
    size = len(rate)
    # The least tree of 2 - closeness; zero would stand for no edge.
    graph = csr_array((2.0 - close, (ends[0], ends[1])), shape=(size, size))
    tree = minimum_spanning_tree(graph).tocoo()
    first, second = tree.row.astype(np.int64), tree.col.astype(np.int64)
    # Of equally dense latents the first is taken for the denser.
    denser = (rate[first] > rate[second]) | ((rate[first] == rate[second]) & (first < second))
    upper, lower = np.where(denser, first, second), np.where(denser, second, first)
    for parent in np.setdiff1d(upper, lower):
        yield Family(int(parent), np.sort(lower[upper == parent]))


def _joined(families: list[Family], new: Family, same: float) -> None:
    """Add a family to those found, or its members to the first that is nearly the same."""
    for i, old in enumerate(families):
        both = len(old.members & new.members)
        if both > same * (len(old.members) + len(new.members) - both):
            members = sorted((old.members | new.members) - {old.parent})
            families[i] = Family(old.parent, np.array(members, np.int64))
            return
    families.append(new)
