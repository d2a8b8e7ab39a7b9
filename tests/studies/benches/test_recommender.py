"""The recommender that studies share: rows, what it learns, and what it is measured by."""

import numpy as np
import torch

from isthmus.studies.benches.recommender import hidden, popularity, recall, recommender, rows_of
from isthmus.studies.trial import Trial

FILMS = 40
STARTS = np.random.default_rng(0).integers(FILMS, size=(200, 1))
ROUND = 1 + (STARTS + np.arange(12)) % FILMS
"""Rows of twelve films, each the one behind the last."""


def test_rows_hold_every_film_once_in_order():
    rows = rows_of([np.arange(1, 8), np.array([9])], 3)
    np.testing.assert_array_equal(rows, [[1, 2, 3], [4, 5, 6], [7, 0, 0], [9, 0, 0]])


def test_popularity_is_the_share_of_next_films_that_most_have_watched():
    assert popularity(np.array([[1, 1, 2, 0]]), np.array([[5, 1, 2, 0], [1, 9, 0, 0]])) == 2 / 3
    # Of twelve films the first two were watched once, the others twice.
    watched = np.array([[*range(1, 13), *range(3, 13)]])
    assert popularity(watched, np.array([[1, 2, 3, 4, 1]])) == 2 / 4


def test_it_learns_what_comes_next_and_draws_from_its_seed_alone():
    state = torch.random.get_rng_state()
    model, again = (recommender(ROUND, FILMS + 1, Trial(3), 60) for _ in range(2))
    other, start = (recommender(ROUND, FILMS + 1, Trial(s), n) for s, n in ((4, 60), (3, 0)))
    assert torch.equal(state, torch.random.get_rng_state())
    assert recall(model, ROUND) > 0.95
    # Ten of forty, by chance.
    assert recall(start, ROUND) < 0.5
    vectors = hidden(model, ROUND)
    assert np.array_equal(vectors, hidden(again, ROUND))
    assert not np.array_equal(vectors, hidden(other, ROUND))


def test_vectors_are_those_of_the_films_watched_and_know_nothing_of_the_next():
    model = recommender(ROUND, FILMS + 1, Trial(3), 0)
    short = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 0]])
    vectors = hidden(model, short)
    assert vectors.shape == (7, 64)
    later = short.copy()
    later[1, 3] = 9
    changed = np.abs(hidden(model, later) - vectors).max(1) > 1e-6
    np.testing.assert_array_equal(changed, [False] * 6 + [True])


def test_a_place_without_a_film_is_no_film_to_recommend():
    model = recommender(ROUND, FILMS + 1, Trial(3), 0)
    short = np.array([[1, 2, 3, 0, 0, 0]])
    assert recall(model, short) == recall(model, short[:, :3])
