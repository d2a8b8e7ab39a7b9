"""A greedy search for the rule that says best where a latent fires.

The aim is the mean of two balanced accuracies on the explainer's windows, those that the label is
scored by on others: detection (windows in which the rule fires anywhere, the latent's own against
silent ones) and tokens (places where the latent fires against the others of its own windows). Each
clause begins with a literal that gains most and is narrowed by further ones while that helps. Each
value costs a little, so that none stays that gains no more than chance would.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.interpretation.labels.candidates import Candidates, candidates
from isthmus.interpretation.labels.rules import Clause, Literal, Rule
from isthmus.interpretation.labels.windows import Windows

CLAUSES = 8
"""Most clauses before those that differ in one value are put together."""

LITERALS = 3
"""Most literals in a clause."""

BEAM = 4
"""Literals with which a clause is tried to begin."""

COST = 0.01
"""What each value must gain. (Half of it gave longer rules that held no better on new text.)"""

KEPT = 160
"""Literals that are looked at more than once: those that gain most by themselves."""


def find_rule(windows: Windows, own: np.ndarray, silent: np.ndarray) -> tuple[Rule, float]:
    """The rule for a latent with windows ``own``, and its score on these very windows.

    ``silent`` are windows in which the latent does not fire. The score, the mean of the two
    balanced accuracies, is of the examples that the rule was made from: no measure of its worth.
    """
    at, starts = windows.places(np.concatenate([own, silent]))
    owner = np.repeat(np.arange(len(starts)), np.diff([*starts, len(at)]))
    inside = owner < len(own)
    fires = inside & (windows.value[at] != 0)
    if not fires.any():
        return Rule(()), 0.5
    given = _Given(fires, inside, owner, starts, len(own))
    return _Search(given, candidates(windows.scene, at, fires, owner)).run()


class _Given:
    """The tokens of a latent's windows and of silent ones, and what each is worth.

    ``worth`` is, by token, what the score gains (or loses) if a rule fires there, and
    ``window_worth`` the same by window: balanced accuracies are sums of these.
    """

    def __init__(
        self, fires: np.ndarray, inside: np.ndarray, owner: np.ndarray, starts: np.ndarray, own: int
    ) -> None:
        self.owner, self.starts = owner, starts
        still = inside & ~fires
        ours = np.arange(len(starts)) < own
        self.worth = (_share(fires) - _share(still)) / 4
        self.window_worth = (_share(ours) - _share(~ours)) / 4

    def anywhere(self, fired: np.ndarray) -> np.ndarray:
        """Whether each window is fired in, from ``(t,)`` or ``(t, C)``."""
        return np.logical_or.reduceat(fired, self.starts, axis=0)

    def score(self, fired: np.ndarray) -> float:
        """The mean of the two balanced accuracies of what fires ``(t,)``."""
        whole = self.window_worth[self.anywhere(fired)].sum()
        return float(0.5 + self.worth[fired].sum() + whole)


def _share(flag: np.ndarray) -> np.ndarray:
    """Each flag as a share of all, float32: the worths of a kind add up to one."""
    return flag.astype(np.float32) / max(1, int(flag.sum()))


@dataclass(frozen=True, eq=False)
class _Found:
    """A clause, where it holds, and the score of what fired already together with it."""

    clause: Clause
    holds: np.ndarray
    score: float

    @property
    def net(self) -> float:
        return self.score - COST * len(self.clause)


class _Search:
    def __init__(self, given: _Given, found: Candidates) -> None:
        self.given = given
        # Where two literals hold at the same places, the first (the plainer one) is kept.
        seen: dict[bytes, int] = {}
        for i, column in enumerate(np.packbits(found.holds, axis=0).T):
            seen.setdefault(column.tobytes(), i)
        found = found.only(np.array(list(seen.values())))
        whole = given.anywhere(found.holds)
        # As floats, since only these are multiplied by the fast routines.
        holds, whole = found.holds.astype(np.float32), whole.astype(np.float32)
        gain = given.worth @ holds + given.window_worth @ whole
        best = np.sort(np.argsort(-gain, kind="stable")[:KEPT])
        self.found, self.holds, self.whole = found.only(best), holds[:, best], whole[:, best]
        self.denied = np.flatnonzero(self.found.negatable)

    def run(self) -> tuple[Rule, float]:
        kept: list[_Found] = []
        fired = np.zeros(len(self.given.owner), dtype=bool)
        best = 0.5
        for _ in range(CLAUSES):
            found = self._clause(fired, best)
            if found.net <= best:
                break
            kept.append(found)
            fired, best = fired | found.holds, found.score
        kept, best = self._pruned(kept, best)
        return Rule(tuple(x.clause for x in kept)).merged(), best

    def _clause(self, fired: np.ndarray, best: float) -> _Found:
        """The clause that gains most when it is added to what fires already."""
        given = self.given
        worth = np.where(fired, 0, given.worth)
        rest = np.where(given.anywhere(fired), 0, given.window_worth)
        first = best + worth @ self.holds + rest @ self.whole
        tried = []
        for start in np.argsort(-first, kind="stable")[:BEAM]:
            holds = self.found.holds[:, start]
            found = _Found((self.found.literals[start],), holds, float(first[start]))
            while len(found.clause) < LITERALS:
                narrower = self._narrowed(found, best, ~fired, rest)
                if narrower.net <= found.net:
                    break
                found = narrower
            tried.append(found)
        return max(tried, key=lambda x: x.net)

    def _narrowed(self, found: _Found, best: float, new: np.ndarray, rest: np.ndarray) -> _Found:
        """The clause with the literal, or the denial of one, that narrows it best.

        ``new`` ``(t,)`` are the tokens where nothing fires yet, ``rest`` ``(windows,)`` is what it
        is worth to fire in a window.
        """
        at = np.flatnonzero(found.holds & new)
        if not len(at):
            return found
        here = self.found.holds[at]
        here = np.concatenate([here, ~here[:, self.denied]], axis=1)
        owner = self.given.owner[at]
        starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
        whole = np.logical_or.reduceat(here, starts, axis=0)
        scores = best + self.given.worth[at] @ here + rest[owner[starts]] @ whole
        chosen = int(scores.argmax())
        plain = len(self.found.literals)
        if chosen < plain:
            literal, holds = self.found.literals[chosen], self.found.holds[:, chosen]
        else:
            i = int(self.denied[chosen - plain])
            one = self.found.literals[i]
            literal = Literal(one.slot, one.kind, one.values, negated=True)
            holds = ~self.found.holds[:, i]
        return _Found((*found.clause, literal), found.holds & holds, float(scores[chosen]))

    def _pruned(self, kept: list[_Found], best: float) -> tuple[list[_Found], float]:
        """Without the clauses that later ones have made needless."""
        for i in reversed(range(len(kept))):
            others = [x.holds for j, x in enumerate(kept) if j != i]
            if not others:
                break
            score = self.given.score(np.logical_or.reduce(others))
            if score + COST * len(kept[i].clause) > best:
                del kept[i]
                best = score
        return kept, best
