"""Examples: the strongest, and a uniform sample of every decile."""

import numpy as np
import pytest

from isthmus.interpretation.latents.examples import Examples
from isthmus.interpretation.latents.firing import FiringStatistics
from isthmus.interpretation.latents.windows import Span

from .streams import cut, made

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
