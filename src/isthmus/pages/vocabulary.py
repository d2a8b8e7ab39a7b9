"""Every distinct token that a page shows, once."""

from collections.abc import Sequence

import numpy as np

LONGEST = (1 << 20, 1 << 14, 1 << 10, 1 << 7)
"""Characters of one token that are kept: the most with which all tokens together fit."""

ROOM = 6 << 20
"""Characters of all tokens together."""


class Vocabulary:
    """Strings by number, each held once."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}

    def add(self, words: Sequence[str]) -> np.ndarray:
        """The numbers of these words, int32, new ones added."""
        number = self._number
        return np.array([number.setdefault(w, len(number)) for w in words], np.int32)

    def __len__(self) -> int:
        return len(self._number)

    def words(self) -> list[str]:
        """All words, by number; overlong ones are cut, with how many characters are left out."""
        words = list(self._number)
        for longest in LONGEST:
            cut = [_cut(word, longest) for word in words]
            if sum(map(len, cut)) <= ROOM:
                break
        return cut


def _cut(word: str, longest: int) -> str:
    if len(word) <= longest:
        return word
    return f"{word[:longest]}… ({len(word) - longest:,} characters left out)"
