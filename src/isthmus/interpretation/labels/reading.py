"""A window of tokens as the rules read it: the text around a place, never what comes after it."""

from collections.abc import Sequence

from isthmus.interpretation.labels.characters import (
    CLOSING,
    ENDS,
    OPENING,
    folded,
    has_letters,
    joins,
)

SLOTS = ("token", "before", "word", "last word", "before that")
"""Texts that a rule may ask about.

``token`` at the place itself, ``before`` and ``before that`` one and two places earlier; ``word``
is the word that the token belongs to, up to and with the token; ``last word`` the whole word before
that one, whatever punctuation stands between.
"""

CONTEXTS = {
    "row start": "among the first 2 places of a row",
    "row head": "among the first 6 places of a row",
    "quoted": "inside quotation marks",
    "bracketed": "inside brackets",
    "sentence start": "at the beginning of a sentence",
    "line start": "at the beginning of a line",
    "near a number": "within 3 tokens after a number",
    "repeated": "seen before in the text",
    "repeated pair": "in a pair of tokens seen before in the text",
}
"""What may hold at a place, and how a label says it."""

NEAR = 8
"""How many tokens back the words that stand nearby are looked for."""


class Reading:
    """The text up to one place of a window, as exact definitions; :class:`Scene` does many.

    ``begin`` is the place in the row of the window's first token.
    """

    def __init__(self, tokens: Sequence[str], place: int, begin: int = 0) -> None:
        if not 0 <= place < len(tokens):
            raise IndexError(f"place {place} of a window of {len(tokens)} tokens")
        self.tokens, self.at = list(tokens[: place + 1]), begin + place
        words = _words(self.tokens)
        known = {
            "token": self.tokens[-1],
            "word": words[-1],
            "before": self.tokens[-2] if place > 0 else "",
            "before that": self.tokens[-3] if place > 1 else "",
            "last word": _last_word(self.tokens, words),
        }
        self.texts: dict[str, str] = known
        self.contexts = frozenset(self._contexts())
        self.near = frozenset(folded(t) for t in self.tokens[-1 - NEAR : -1] if has_letters(t))

    def _contexts(self) -> list[str]:
        *earlier, token = self.tokens
        found = [name for name, size in (("row start", 2), ("row head", 6)) if self.at < size]
        text = "".join(earlier)
        if text.count('"') % 2 or text.count("“") > text.count("”"):
            found.append("quoted")
        if sum(text.count(c) for c in OPENING) > sum(text.count(c) for c in CLOSING):
            found.append("bracketed")
        ends = [i for i, t in enumerate(earlier) if set(t) & (ENDS | {"\n"})]
        if ends and has_letters(token) and not any(map(has_letters, earlier[ends[-1] + 1 :])):
            found.append("sentence start")
        if earlier and "\n" in earlier[-1]:
            found.append("line start")
        if any(c.isdigit() for t in earlier[-3:] for c in t):
            found.append("near a number")
        same = [i for i, t in enumerate(earlier) if folded(t) == folded(token)]
        if same and has_letters(token):
            found.append("repeated")
        if any(i > 0 and folded(earlier[i - 1]) == folded(earlier[-1]) for i in same):
            found.append("repeated pair")
        return found


def _words(tokens: Sequence[str]) -> list[str]:
    """At each place the word up to and with the token."""
    words: list[str] = []
    for place, token in enumerate(tokens):
        joined = place > 0 and joins(tokens[place - 1], token)
        words.append(words[-1] + token if joined else token)
    return words


def _last_word(tokens: Sequence[str], words: Sequence[str]) -> str:
    """The word before the one that the last token belongs to; empty where there is none."""
    place = len(tokens) - 1
    while place > 0 and joins(tokens[place - 1], tokens[place]):
        place -= 1
    earlier = [i for i in range(place) if has_letters(tokens[i])]
    return words[earlier[-1]] if earlier else ""
