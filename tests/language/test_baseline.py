"""The n-gram baseline that the resident model is measured against."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "tools" / "_kneser_ney.py"


@pytest.fixture(scope="module")
def kneser_ney():
    spec = importlib.util.spec_from_file_location("kneser_ney", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.KneserNey


def documents():
    draw = np.random.default_rng(0)
    return [draw.zipf(1.6, n).clip(1, 6) for n in (80, 50, 3)]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_chances_of_all_tokens_sum_to_one(kneser_ney, order):
    model = kneser_ney(documents(), order, 8, 0)
    for before in ([], [1], [2, 1], [7, 3], [6, 6, 5]):
        chances = [np.exp(-model.nats(np.array([*before, w]))[-1]) for w in range(8)]
        assert math.isclose(sum(chances), 1, rel_tol=1e-9)
        assert min(chances) > 0


def test_bigrams_are_those_of_the_formula(kneser_ney):
    """Chen and Goodman 1999, equations 23 and 25, by plain counting."""
    texts = documents()
    pairs = [p for t in texts for p in zip([0, *t], t, strict=False)]
    types = set(pairs)
    count = {p: pairs.count(p) for p in types}

    def discount(counts):
        once, twice = (sum(c == n for c in counts) for n in (1, 2))
        return once / (once + 2 * twice) if once else 0.5

    ends = {w: sum(b == w for _, b in types) for w in range(8)}
    used = [n for n in ends.values() if n]
    d1, d2 = discount(used), discount(list(count.values()))

    def unigram(w):
        return max(ends[w] - d1, 0) / len(types) + d1 * len(used) / len(types) / 8

    def bigram(h, w):
        of = [c for (a, _), c in count.items() if a == h]
        if not of:
            return unigram(w)
        seen = max(count.get((h, w), 0) - d2, 0) if (h, w) in count else 0
        return seen / sum(of) + d2 * len(of) / sum(of) * unigram(w)

    model = kneser_ney(texts, 2, 8, 0)
    row = np.array([1, 2, 1, 7, 3, 4, 1])
    expected = [bigram(h, w) for h, w in zip([0, *row], row, strict=False)]
    np.testing.assert_allclose(np.exp(-model.nats(row)), expected, rtol=1e-12)
