"""The smallest keys of each latent, whatever the blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.interpretation.latents.reservoir import Smallest


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), max_size=120),
    st.integers(1, 5),
    st.integers(1, 40),
)
def test_it_keeps_what_sorting_everything_would(items, keep, size):
    """Equal keys: the earlier stay."""
    held = Smallest(5, keep, {"number": (np.int64, ()), "twice": (np.float32, (2,))})
    for start in range(0, len(items), size):
        part = sorted(enumerate(items[start : start + size], start), key=lambda item: item[1][0])
        number = np.array([i for i, _ in part], np.int64)
        latent = np.array([j for _, (j, _) in part], np.int64)
        key = np.array([k for _, (_, k) in part], np.uint32)
        held.offer(
            latent,
            key,
            lambda which, number=number: {
                "number": number[which],
                "twice": np.stack([number[which], -number[which]], 1),
            },
        )
    kept, fields = held.sorted(np.arange(5))
    for j in range(5):
        expected = sorted((k, i) for i, (latent, k) in enumerate(items) if latent == j)[:keep]
        assert kept[j] == len(expected)
        assert fields["number"][j, : kept[j]].tolist() == [i for _, i in expected]
        np.testing.assert_array_equal(fields["twice"][j, : kept[j], 1], [-i for _, i in expected])


def test_random_keys_are_a_uniform_sample():
    rng = np.random.default_rng(0)
    hits = np.zeros(40)
    for _ in range(400):
        held = Smallest(1, 10, {"number": (np.int64, ())})
        for start in range(0, 40, 8):
            key = rng.integers(0, 2**32 - 1, 8).astype(np.uint32)
            number = np.arange(start, start + 8)
            held.offer(
                np.zeros(8, int), key, lambda which, number=number: {"number": number[which]}
            )
        hits[held.sorted(np.array([0]))[1]["number"][0]] += 1
    # Each of 40 numbers is hit 100 times of 400, with a deviation of 8.7.
    assert np.abs(hits - 100).max() < 4 * 8.7
