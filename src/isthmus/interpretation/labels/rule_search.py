"""A greedy search for the rule that says best where a latent fires.

The aim is the mean of two balanced accuracies on the explainer's windows, those that the label is
scored by on others: detection (windows in which the rule fires anywhere, the latent's own against
silent ones) and tokens (places where the latent fires against the others of its own windows). Each
clause begins with a literal that gains most and is narrowed by further ones while that helps. Each
value costs a little, so that none stays that gains no more than chance would.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.interpretation.labels.rule_matching import CONTEXT_NAMES, RuleMatcher, matcher_of
from isthmus.interpretation.labels.rules import CONTEXT, NEARBY, Clause, Literal, Rule
from isthmus.interpretation.labels.text import KINDS, SLOTS
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

ALLOWED = {
    "token": KINDS,
    "before": KINDS,
    "word": ("word", "suffix", "prefix", "class"),
    "before that": ("word", "class"),
    "last word": ("word", "suffix", "class"),
}
"""Kinds of features tried in each slot; a rule may be written with others."""

_RANK = {
    slot: np.array([kinds.index(k) if k in kinds else -1 for k in KINDS])
    for slot, kinds in ALLOWED.items()
}
"""For each kind its rank in a slot, -1 where it is not tried."""

SUPPORT = 2
"""Windows in which a literal must hold where the latent fires: less is chance."""

PER_SLOT = 160
"""Literals of one slot, those that hold most often where the latent fires."""

NEARBY_SHARE = 0.2
"""Least share of the latent's windows with a word nearby."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """``C`` literals: ``literals``, where each holds ``(t, C)`` bool, and which may be negated."""

    literals: list[Literal]
    holds: np.ndarray
    negatable: np.ndarray

    def only(self, numbers: np.ndarray) -> "Candidates":
        """Those of these numbers, in that order."""
        return Candidates(
            [self.literals[i] for i in numbers], self.holds[:, numbers], self.negatable[numbers]
        )


def candidates(
    matcher: RuleMatcher, at: np.ndarray, fires: np.ndarray, owner: np.ndarray
) -> Candidates:
    """What holds at least twice where a latent fires.

    ``at`` ``(t,)`` are the tokens of whole windows, ``fires`` ``(t,)`` where the latent does, and
    ``owner`` ``(t,)`` the window of each token.
    """
    literals: list[Literal] = []
    columns: list[np.ndarray] = []
    firing, window = at[fires], owner[fires]
    for slot in SLOTS:
        features = _common(matcher, slot, firing, window)
        columns.append(matcher.lexicon.columns(matcher.texts[slot][at], features))
        for feature in features:
            kind, value = matcher.lexicon.features[feature]
            literals.append(Literal(slot, kind, (value,)))
    words = _near_words(matcher, firing, window)
    columns.append(matcher.nearby(at, np.array([matcher.words[w] for w in words], dtype=np.int32)))
    literals += [Literal(NEARBY, "word", (w,)) for w in words]
    bits = np.arange(len(CONTEXT_NAMES), dtype=np.uint16)
    columns.append((matcher.context[at][:, None] >> bits & 1).astype(bool))
    literals += [Literal(CONTEXT, "context", (name,)) for name in CONTEXT_NAMES]
    negatable = np.array([x.kind in ("class", "context") for x in literals], dtype=bool)
    return Candidates(literals, np.concatenate(columns, axis=1), negatable)


def _common(matcher: RuleMatcher, slot: str, firing: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Features of one slot that hold where the latent fires in enough windows, by kind."""
    lexicon = matcher.lexicon
    numbers, owner = lexicon.of(matcher.texts[slot][firing])
    size = len(lexicon.features)
    pairs = np.unique(window[owner].astype(np.int64) * size + numbers)
    features, counts = np.unique(pairs % size, return_counts=True)
    rank = _RANK[slot][lexicon.kind[features]]
    tried = (counts >= SUPPORT) & (rank >= 0)
    features, counts, rank = features[tried], counts[tried], rank[tried]
    features, rank = (x[np.argsort(-counts, kind="stable")[:PER_SLOT]] for x in (features, rank))
    return features[np.argsort(rank, kind="stable")]


def _near_words(matcher: RuleMatcher, firing: np.ndarray, window: np.ndarray) -> list[str]:
    """Words among the tokens before many of the places where the latent fires."""
    back = np.arange(1, 9)
    source = firing[:, None] - back
    inside = matcher.place[firing][:, None] >= back
    words = np.where(inside, matcher.near[np.maximum(source, 0)], 0)
    size = int(words.max(initial=0)) + 1
    pairs = np.unique((window[:, None].astype(np.int64) * size + words)[words > 0])
    common, counts = np.unique(pairs % size, return_counts=True)
    enough = counts >= max(SUPPORT + 1, NEARBY_SHARE * len(np.unique(window)))
    names = matcher.word_names
    return [names[w - 1] for w in common[enough]]


def find_rule(windows: Windows, firing: np.ndarray, silent: np.ndarray) -> tuple[Rule, float]:
    """The rule for a latent with windows ``firing``, and its score on these very windows.

    ``silent`` are windows in which the latent does not fire. The score, the mean of the two
    balanced accuracies, is of the examples that the rule was made from: no measure of its worth.
    """
    at, starts = windows.places(np.concatenate([firing, silent]))
    owner = np.repeat(np.arange(len(starts)), np.diff([*starts, len(at)]))
    inside = owner < len(firing)
    fires = inside & (windows.value[at] != 0)
    if not fires.any():
        return Rule(()), 0.5
    evidence = _Given(fires, inside, owner, starts, len(firing))
    return _Search(evidence, candidates(matcher_of(windows), at, fires, owner)).run()


class _Given:
    """The tokens of a latent's windows and of silent ones, and what each is worth.

    ``worth`` is, by token, what the score gains (or loses) if a rule fires there, and
    ``window_worth`` the same by window: balanced accuracies are sums of these.
    """

    def __init__(
        self,
        fires: np.ndarray,
        inside: np.ndarray,
        owner: np.ndarray,
        starts: np.ndarray,
        count: int,
    ) -> None:
        self.owner, self.starts = owner, starts
        still = inside & ~fires
        ours = np.arange(len(starts)) < count
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
class _ClauseFit:
    """A clause, where it holds, and the score of what fired already together with it."""

    clause: Clause
    holds: np.ndarray
    score: float

    @property
    def net(self) -> float:
        return self.score - COST * len(self.clause)


class _Search:
    def __init__(self, given: _Given, possible: Candidates) -> None:
        self.given = given
        # Where two literals hold at the same places, the first (the plainer one) is kept.
        distinct: dict[bytes, int] = {}
        for i, column in enumerate(np.packbits(possible.holds, axis=0).T):
            distinct.setdefault(column.tobytes(), i)
        possible = possible.only(np.array(list(distinct.values())))
        whole = given.anywhere(possible.holds)
        # As floats, since only these are multiplied by the fast routines.
        holds, whole = possible.holds.astype(np.float32), whole.astype(np.float32)
        gain = given.worth @ holds + given.window_worth @ whole
        best = np.sort(np.argsort(-gain, kind="stable")[:KEPT])
        self.candidates, self.holds, self.whole = (
            possible.only(best),
            holds[:, best],
            whole[:, best],
        )
        self.denied = np.flatnonzero(self.candidates.negatable)

    def run(self) -> tuple[Rule, float]:
        clauses: list[_ClauseFit] = []
        fired = np.zeros(len(self.given.owner), dtype=bool)
        best = 0.5
        for _ in range(CLAUSES):
            clause = self._clause(fired, best)
            if clause.net <= best:
                break
            clauses.append(clause)
            fired, best = fired | clause.holds, clause.score
        clauses, best = self._pruned(clauses, best)
        return Rule(tuple(x.clause for x in clauses)).merged(), best

    def _clause(self, fired: np.ndarray, best: float) -> _ClauseFit:
        """The clause that gains most when it is added to what fires already."""
        evidence = self.given
        worth = np.where(fired, 0, evidence.worth)
        rest = np.where(evidence.anywhere(fired), 0, evidence.window_worth)
        first = best + worth @ self.holds + rest @ self.whole
        fits = []
        for start in np.argsort(-first, kind="stable")[:BEAM]:
            holds = self.candidates.holds[:, start]
            fit = _ClauseFit((self.candidates.literals[start],), holds, float(first[start]))
            while len(fit.clause) < LITERALS:
                narrower = self._narrowed(fit, best, ~fired, rest)
                if narrower.net <= fit.net:
                    break
                fit = narrower
            fits.append(fit)
        return max(fits, key=lambda x: x.net)

    def _narrowed(
        self, fit: _ClauseFit, best: float, new: np.ndarray, rest: np.ndarray
    ) -> _ClauseFit:
        """The clause with the literal, or the denial of one, that narrows it best.

        ``new`` ``(t,)`` are the tokens where nothing fires yet, ``rest`` ``(windows,)`` is what it
        is worth to fire in a window.
        """
        at = np.flatnonzero(fit.holds & new)
        if not len(at):
            return fit
        truths = self.candidates.holds[at]
        truths = np.concatenate([truths, ~truths[:, self.denied]], axis=1)
        owner = self.given.owner[at]
        starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
        whole = np.logical_or.reduceat(truths, starts, axis=0)
        scores = best + self.given.worth[at] @ truths + rest[owner[starts]] @ whole
        winner = int(scores.argmax())
        plain = len(self.candidates.literals)
        if winner < plain:
            literal, holds = self.candidates.literals[winner], self.candidates.holds[:, winner]
        else:
            i = int(self.denied[winner - plain])
            one = self.candidates.literals[i]
            literal = Literal(one.slot, one.kind, one.values, negated=True)
            holds = ~self.candidates.holds[:, i]
        return _ClauseFit((*fit.clause, literal), fit.holds & holds, float(scores[winner]))

    def _pruned(self, clauses: list[_ClauseFit], best: float) -> tuple[list[_ClauseFit], float]:
        """Without the clauses that later ones have made needless."""
        for i in reversed(range(len(clauses))):
            others = [x.holds for j, x in enumerate(clauses) if j != i]
            if not others:
                break
            score = self.given.score(np.logical_or.reduce(others))
            if score + COST * len(clauses[i].clause) > best:
                del clauses[i]
                best = score
        return clauses, best
