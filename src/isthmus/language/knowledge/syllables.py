"""Words that do not exist, drawn from syllables."""

from collections.abc import Container, Sequence

import numpy as np

HEADS = (
    "Ad", "Ant", "Ar", "Bag", "Can", "Cas", "Che", "Col", "Con", "Don", "Em", "Eng", "Hol",
    "Jim", "Jon", "Lad", "Low", "Lyd", "Mad", "Mic", "Mos", "Pet", "Ros", "Tom", "Van", "Vin",
)  # fmt: skip
"""How names begin. Heads and tails are tokens of the resident tokenizer: names are short."""

WOMEN = ("ra", "na", "ia", "ma", "cha", "ina", "ka", "sha")
MEN = ("ro", "lo", "no", "bo", "co", "go", "jo", "io")
TAILS = (
    "ber", "burg", "cast", "ford", "ham", "head", "ler", "ley", "ling", "man", "mer", "ness", "ney",
    "port", "ray", "row", "ster", "vel", "ver", "well",
)  # fmt: skip

ONSETS = (
    "b", "br", "d", "dr", "f", "g", "gl", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "th",
    "v", "w", "z",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
CODAS = ("", "", "l", "n", "r", "s", "nd", "rk", "th", "m")


def made_up(rng: np.random.Generator, syllables: int) -> str:
    """A word of so many syllables, of nearly endlessly many."""
    parts = [ONSETS[rng.integers(len(ONSETS))] + VOWELS[rng.integers(len(VOWELS))]
             for _ in range(syllables)]  # fmt: skip
    return "".join(parts) + CODAS[rng.integers(len(CODAS))]


def distinct(
    rng: np.random.Generator, number: int, *tails: Sequence[str], taken: Container[str] = ()
) -> list[str]:
    """So many different names, a head and one of each of ``tails``; none is ``taken``."""
    words: dict[str, None] = {}
    while len(words) < number:
        parts = [str(rng.choice(some)) for some in (HEADS, *tails)]
        one = "".join(parts)
        if one not in taken:
            words[one] = None
    return list(words)
