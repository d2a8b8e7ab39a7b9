"""What a latent does around an activation, and its values in 16 bits."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.interpretation.latents import silence
from isthmus.interpretation.latents.silence import RandomWindows
from isthmus.interpretation.latents.windows import Span, long_floats, short_floats, windows

from .streams import blocks_of, cut, made


@settings(max_examples=40)
@given(st.integers(0, 200), st.integers(0, 6), st.integers(0, 6))
def test_windows_are_stretches_of_the_dense_code(seed, before, after):
    z, row, place, token = made(rows=6, places=7, latents=5, seed=seed)
    left_out = np.random.default_rng(seed).random(len(row)) < 0.2  # special tokens have no entry
    z, row, place, token = (a[~left_out] for a in (z, row, place, token))
    entries = blocks_of(z, row * 3, place)
    which = np.arange(len(entries.latent))[::2]
    shown = long_floats(windows(entries, which, Span(before, after)))
    dense = np.zeros((6, 7 + before + after, 5), np.float32)
    dense[row, before + place] = z
    for i, entry in enumerate(which):
        t, j = entries.token[entry], entries.latent[entry]
        expected = dense[row[t], place[t] : place[t] + before + 1 + after, j]
        np.testing.assert_allclose(shown[i], expected, rtol=2**-8)


@settings(max_examples=40)
@given(st.floats(-(2.0**120), 2.0**120, width=32))
def test_short_floats_are_bfloat16(value):
    short = long_floats(short_floats(np.array([value], np.float32)))
    assert short[0] == torch.tensor(value).bfloat16().float().numpy()


def test_random_windows_name_all_that_fires_in_them():
    z, row, place, token = made(rows=30)
    span = Span(3, 2)
    kept = RandomWindows(50, span, 0)
    for entries in cut(z, row, place, token, 4):
        kept.update(entries)
    found = kept.found()
    assert len(found) == 50
    for window in found:
        inside = (row == window.row) & (np.abs(place - window.place + 0.5) <= 3)
        inside &= (place >= window.place - 3) & (place <= window.place + 2)
        np.testing.assert_array_equal(window.fired, np.flatnonzero(z[inside].any(0)))
    assert {window.split for window in found} == {0, 1}
    whole = RandomWindows(50, span, 0)
    whole.update(blocks_of(z, row, place, token))
    assert [(w.row, w.place) for w in whole.found()] == [(w.row, w.place) for w in found]


def test_there_is_a_limit_to_what_is_remembered(monkeypatch):
    monkeypatch.setattr(silence, "FIRED", 100)
    z, row, place, token = made(rows=30)
    results = []
    for rows in (1, 30):
        kept = RandomWindows(200, Span(3, 2), 0)
        for entries in cut(z, row, place, token, rows):
            kept.update(entries)
        found = kept.found()
        assert 5 < len(found) < 100
        assert sum(len(w.fired) for w in found) <= 100
        results.append([(w.row, w.place) for w in found])
    assert results[0] == results[1]
