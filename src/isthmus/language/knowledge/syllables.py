"""Words that do not exist, drawn from syllables."""

from collections.abc import Container

import numpy as np

ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t",
          "th", "v", "w", "z")  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
CODAS = ("", "", "l", "n", "r", "s", "nd", "rk", "th", "m")


def word(rng: np.random.Generator, syllables: int, ending: str = "") -> str:
    """One word of so many syllables, then ``ending``."""
    parts = []
    for number in range(syllables):
        parts.append(str(rng.choice(ONSETS)) + str(rng.choice(VOWELS)))
        if number + 1 == syllables and not ending:
            parts.append(str(rng.choice(CODAS)))
    return "".join(parts) + ending


def distinct(
    rng: np.random.Generator, number: int, syllables: int, taken: Container[str] = (), ending: str = "",
) -> list[str]:  # fmt: skip
    """So many different words, none of which is ``taken``."""
    found: dict[str, None] = {}
    while len(found) < number:
        one = word(rng, syllables, ending)
        if one not in taken:
            found[one] = None
    return list(found)
