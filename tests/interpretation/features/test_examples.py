"""Examples: the strongest, and a uniform sample of every decile."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.interpretation.features import examples as examples_module
from isthmus.interpretation.features.examples import (
    Examples,
    RandomWindows,
    Smallest,
    Span,
    long_floats,
    short_floats,
    windows,
)
from isthmus.interpretation.features.statistics import FiringStatistics

from .streams import blocks_of, cut, made

Z, ROW, PLACE, TOKEN = made(rows=150)


def collected(rows, seed=0, top=6, each=4):
    statistics = FiringStatistics(Z.shape[1])
    examples = Examples(Z.shape[1], top=top, each=each, span=Span(3, 2), seed=seed)
    for entries in cut(Z, ROW, PLACE, TOKEN, rows):
        statistics.update(entries)
        examples.update(entries)
    return examples.of(np.arange(Z.shape[1]), statistics)


FOUND = collected(40)


def test_the_strongest_are_the_best_of_the_best_rows():
    for j in range(Z.shape[1]):
        own = (FOUND.latent == j) & (FOUND.group == 0)
        best = Z[:, j].reshape(150, 20).max(1)
        rows = np.argsort(-best, kind="stable")[:6]
        rows = rows[best[rows] > 0]
        assert FOUND.row[own].tolist() == rows.tolist()
        np.testing.assert_array_equal(FOUND.value[own], best[rows])
        np.testing.assert_array_equal(FOUND.place[own], Z[:, j].reshape(150, 20).argmax(1)[rows])


def test_examples_lie_in_their_decile():
    for j in range(Z.shape[1]):
        own = (FOUND.latent == j) & (FOUND.group > 0)
        values = np.sort(Z[Z[:, j] != 0, j])
        if len(values) < 400:
            continue
        assert set(FOUND.group[own]) == set(range(1, 11))
        share = np.searchsorted(values, FOUND.value[own]) / len(values)
        assert (np.abs(share - (FOUND.group[own] - 0.5) / 10) <= 0.05 + 0.02).all()
        assert max(np.bincount(FOUND.group[own])) <= 4


def test_examples_are_what_they_say():
    at = FOUND.row * 20 + FOUND.place
    np.testing.assert_array_equal(FOUND.value, Z[at, FOUND.latent])
    np.testing.assert_array_equal(FOUND.values[:, 3], FOUND.value)
    assert (FOUND.document == FOUND.row).all()
    keys = np.stack([FOUND.latent, FOUND.group, -FOUND.value], 1)
    assert [tuple(k) for k in keys] == sorted(tuple(k) for k in keys)


def test_rare_latents_show_all_they_have():
    rare = int(np.argmin(np.where((Z != 0).any(0), (Z != 0).sum(0), 10**6)))
    own = (FOUND.latent == rare) & (FOUND.group > 0)
    count = int((Z[:, rare] != 0).sum())
    assert count < 40
    assert len(set(FOUND.row[own] * 20 + FOUND.place[own])) == own.sum() >= count - 10
    assert not (FOUND.latent == Z.shape[1] - 1).any()


def test_rows_are_either_explained_or_scored():
    explained, scored = (set(FOUND.row[FOUND.split == s]) for s in (0, 1))
    assert not explained & scored
    assert 0.3 < len(explained) / (len(explained) + len(scored)) < 0.7


@pytest.mark.parametrize("rows", [1, 7, 150])
def test_the_blocks_change_nothing(rows):
    other = collected(rows)
    for name, column in vars(FOUND).items():
        np.testing.assert_array_equal(column, getattr(other, name))


def test_another_seed_draws_others():
    other = collected(40, seed=1)
    own, theirs = (f.group > 0 for f in (FOUND, other))
    assert set(zip(FOUND.row[own], FOUND.place[own], strict=True)) != set(
        zip(other.row[theirs], other.place[theirs], strict=True)
    )
    top, same = (f.group == 0 for f in (FOUND, other))
    np.testing.assert_array_equal(FOUND.row[top], other.row[same])


def test_the_sample_of_a_decile_is_uniform():
    """Over seeds, each activation of a decile is as likely an example as any other."""
    j = int((Z != 0).sum(0).argmax())
    hits = np.zeros(len(Z))
    statistics = FiringStatistics(Z.shape[1])
    entries = next(cut(Z, ROW, PLACE, TOKEN, 150))
    statistics.update(entries)
    for seed in range(60):
        examples = Examples(Z.shape[1], top=1, each=20, span=Span(0, 0), seed=seed)
        examples.update(entries)
        found = examples.of(np.array([j]), statistics)
        own = found.group > 0
        hits[found.row[own] * 20 + found.place[own]] += 1
    hit = hits[Z[:, j] != 0]
    rate = hit.mean()
    assert rate == pytest.approx(60 * 200 / len(hit), rel=0.05)
    assert hit.var() == pytest.approx(rate, rel=0.2)  # nearly that of independent draws


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
    found = kept.sample()
    assert len(found) == 50
    for window in found:
        inside = (row == window.row) & (np.abs(place - window.place + 0.5) <= 3)
        inside &= (place >= window.place - 3) & (place <= window.place + 2)
        np.testing.assert_array_equal(window.fired, np.flatnonzero(z[inside].any(0)))
    assert {window.split for window in found} == {0, 1}
    whole = RandomWindows(50, span, 0)
    whole.update(blocks_of(z, row, place, token))
    assert [(w.row, w.place) for w in whole.sample()] == [(w.row, w.place) for w in found]


def test_there_is_a_limit_to_what_is_remembered(monkeypatch):
    monkeypatch.setattr(examples_module, "FIRED", 100)
    z, row, place, token = made(rows=30)
    results = []
    for rows in (1, 30):
        kept = RandomWindows(200, Span(3, 2), 0)
        for entries in cut(z, row, place, token, rows):
            kept.update(entries)
        found = kept.sample()
        assert 5 < len(found) < 100
        assert sum(len(w.fired) for w in found) <= 100
        results.append([(w.row, w.place) for w in found])
    assert results[0] == results[1]
