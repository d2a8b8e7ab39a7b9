"""What the tokens have in common at which a unit fires: their contexts, and a head's families."""

from dataclasses import dataclass

import numpy as np

TOP = 40
"""Strongest tokens of a unit that agreement is measured on; units with fewer do not count."""
OF_HEAD = 10
"""Latents of largest share that are looked at for each head, as in Kissane et al. 2024."""
OF_FAMILY = 2
"""Latents that a family has at least, where it counts."""
CHANCE = 0.01
"""A latent has a family where as few of the latents agree as much on contexts of other tokens."""


@dataclass(frozen=True)
class Contexts:
    """The kinds of context of each token, as numbers: int64 ``(tokens, kinds)``."""

    kinds: np.ndarray

    def shuffled(self, seed: int, stream: int) -> "Contexts":
        """Each token with the contexts of another."""
        return Contexts(np.random.default_rng([seed, stream]).permutation(self.kinds))

    def agreement(self, which: np.ndarray) -> np.ndarray:
        """How much some tokens agree in each kind, ``(kinds,)``."""
        return np.array([np.bincount(kind).max() / len(which) for kind in self.kinds[which].T])


def agreements(units: np.ndarray, context: Contexts) -> tuple[np.ndarray, np.ndarray]:
    """The units ``(tokens, units)`` that are positive often enough, and their agreements.

    ``(often,)`` and ``(often, kinds)``, each of a unit's strongest tokens.
    """
    often = np.flatnonzero((units > 0).sum(0) >= TOP)
    strongest = [np.argpartition(-units[:, i], TOP - 1)[:TOP] for i in often]
    agreed = [context.agreement(which) for which in strongest]
    return often, np.array(agreed).reshape(-1, context.kinds.shape[1])


def purity(units: np.ndarray, context: Contexts) -> float:
    """How pure units are: the largest share of one context in all that a unit fires.

    Weighted by how strongly it fires, in the kind of context where that is most, mean over units.
    """
    purities = []
    for i in np.flatnonzero((units > 0).sum(0) >= TOP):
        on = np.flatnonzero(units[:, i] > 0)
        mass = units[on, i]
        shares = [np.bincount(kind, mass).max() for kind in context.kinds[on].T]
        purities.append(max(shares) / mass.sum())
    return float(np.mean(purities)) if purities else 0.0


def by_chance(units: np.ndarray, other: Contexts) -> float:
    """The agreement that few latents reach on contexts of other tokens."""
    agreed = agreements(units, other)[1]
    return float(np.quantile(agreed.max(1), 1.0 - CHANCE)) if len(agreed) else 1.0


def heads_of_two_families(
    units: np.ndarray, context: Contexts, shares: np.ndarray, least: float
) -> float:
    """The share of heads whose latents of largest share have two families or more.

    ``shares`` are ``(latents, heads)``. A latent's family is the kind of context where its tokens
    agree most, if by more than ``least``.
    """
    often, agreed = agreements(units, context)
    frequent_shares, family = shares[often], agreed.argmax(1)
    some = agreed.max(1) > least
    several = []
    for head in range(shares.shape[1]):
        mine = np.argsort(-frequent_shares[:, head])[:OF_HEAD]
        count = np.bincount(family[mine[some[mine]]], minlength=context.kinds.shape[1])
        several.append((count >= OF_FAMILY).sum() >= 2)
    return float(np.mean(several))


def strongest(units: np.ndarray, rate: float) -> np.ndarray:
    """The units ``(tokens, units)``, each zero but at its strongest ``rate`` of the tokens."""
    kept = max(TOP, round(rate * len(units)))
    least = np.partition(units, -kept, axis=0)[-kept]
    return np.where(units >= least, units.clip(0), 0.0)
