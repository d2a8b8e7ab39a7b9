"""Literals that a latent's rule may use, and where each holds."""

from dataclasses import dataclass

import numpy as np

from isthmus.interpretation.labels.characters import KINDS
from isthmus.interpretation.labels.reading import SLOTS
from isthmus.interpretation.labels.rules import CONTEXT, NEARBY, Literal
from isthmus.interpretation.labels.scene import CONTEXT_NAMES, Scene

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

    def only(self, kept: np.ndarray) -> "Candidates":
        """Some of them, in the order of ``kept``."""
        return Candidates(
            [self.literals[i] for i in kept], self.holds[:, kept], self.negatable[kept]
        )


def candidates(scene: Scene, at: np.ndarray, fires: np.ndarray, owner: np.ndarray) -> Candidates:
    """What holds at least twice where a latent fires.

    ``at`` ``(t,)`` are the tokens of whole windows, ``fires`` ``(t,)`` where the latent does, and
    ``owner`` ``(t,)`` the window of each token.
    """
    literals: list[Literal] = []
    columns: list[np.ndarray] = []
    firing, window = at[fires], owner[fires]
    for slot in SLOTS:
        wanted = _common(scene, slot, firing, window)
        columns.append(scene.lexicon.columns(scene.texts[slot][at], wanted))
        for feature in wanted:
            kind, value = scene.lexicon.features[feature]
            literals.append(Literal(slot, kind, (value,)))
    words = _near_words(scene, firing, window)
    columns.append(scene.nearby(at, np.array([scene.words[w] for w in words], dtype=np.int32)))
    literals += [Literal(NEARBY, "word", (w,)) for w in words]
    bits = np.arange(len(CONTEXT_NAMES), dtype=np.uint16)
    columns.append((scene.context[at][:, None] >> bits & 1).astype(bool))
    literals += [Literal(CONTEXT, "context", (name,)) for name in CONTEXT_NAMES]
    negatable = np.array([x.kind in ("class", "context") for x in literals], dtype=bool)
    return Candidates(literals, np.concatenate(columns, axis=1), negatable)


def _common(scene: Scene, slot: str, firing: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Features of one slot that hold where the latent fires in enough windows, by kind."""
    lexicon = scene.lexicon
    found, owner = lexicon.of(scene.texts[slot][firing])
    size = len(lexicon.features)
    pairs = np.unique(window[owner].astype(np.int64) * size + found)
    features, counts = np.unique(pairs % size, return_counts=True)
    rank = _RANK[slot][lexicon.kind[features]]
    kept = (counts >= SUPPORT) & (rank >= 0)
    features, counts, rank = features[kept], counts[kept], rank[kept]
    features, rank = (x[np.argsort(-counts, kind="stable")[:PER_SLOT]] for x in (features, rank))
    return features[np.argsort(rank, kind="stable")]


def _near_words(scene: Scene, firing: np.ndarray, window: np.ndarray) -> list[str]:
    """Words among the tokens before many of the places where the latent fires."""
    back = np.arange(1, 9)
    source = firing[:, None] - back
    inside = scene.place[firing][:, None] >= back
    words = np.where(inside, scene.near[np.maximum(source, 0)], 0)
    size = int(words.max(initial=0)) + 1
    pairs = np.unique((window[:, None].astype(np.int64) * size + words)[words > 0])
    found, counts = np.unique(pairs % size, return_counts=True)
    enough = counts >= max(SUPPORT + 1, NEARBY_SHARE * len(np.unique(window)))
    names = scene.word_names
    return [names[w - 1] for w in found[enough]]


__all__ = ["Candidates", "candidates"]
