"""The score by which latents are shown first, against small cases worked by hand."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from isthmus.pages import interesting


def test_the_band_is_flat_in_the_middle_and_ends_a_decade_outside():
    rates = np.array([0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.03, 0.3, 1.0])
    # A mean rate that would move the upper end is kept low by many dead latents.
    found = interesting.band(np.concatenate([rates, np.zeros(1000)]), 10**7)
    assert found[:8] == pytest.approx([0, 0, 0, 1, 1, 1, 0, 0], abs=1e-9)
    half = np.array([0.03 * 10**0.5, 1e-4 * 10**-0.5])
    assert interesting.band(np.concatenate([half, np.zeros(1000)]), 10**7)[:2] == pytest.approx(0.5)


def test_few_rows_and_busy_codes_move_the_band():
    assert interesting.band(np.array([0.01] + [0.0] * 99), 1000)[0] == 1.0
    assert interesting.band(np.array([0.001] + [0.0] * 99), 1000)[0] == pytest.approx(0.0)
    busy = np.full(100, 0.1)
    assert interesting.band(busy, 10**6) == pytest.approx(np.ones(100))


def test_strength_is_a_rank_among_those_that_fire():
    found = interesting.ranked(np.array([5.0, 1.0, 3.0, 9.0]), np.array([True, True, True, False]))
    assert found == pytest.approx([1.0, 0.5 + 0.5 / 3, 0.5 + 1 / 3, 0.0])


def test_likeness_is_the_mean_cosine_of_pairs():
    rows = np.random.default_rng(0).normal(size=(30, 5))
    examples = [np.array([0, 3, 7, 9]), np.array([2]), np.array([4, 4])]
    found, means = interesting.alike(rows, examples)
    pairs = cosine_similarity(rows[examples[0]] - rows.mean(0))
    assert found[0] == pytest.approx(pairs[np.triu_indices(4, 1)].mean())
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(1.0)
    assert means[1] == pytest.approx(
        (rows[2] - rows.mean(0)) / np.linalg.norm(rows[2] - rows.mean(0))
    )


def test_text_is_coherent_where_firing_tells_of_the_token():
    words = [" and", "king", "oak", "elm", "ash", "King ", "sea", "Sea", "of"]
    tokens = [np.array(own, int) for own in ([0], [1], [2, 3, 4], [], [6, 7], [8])]
    shares = [np.array(own) for own in ([1.0], [1.0], [0.3, 0.3, 0.3], [], [0.5, 0.5], [1.0])]
    rates = np.array([0.1, 0.001, 0.001, 0.01, 0.002, 0.001])
    found = interesting.tells_of_tokens(words, tokens, shares, rates)
    told = np.log(rates.sum() / rates) / np.log(1e4)
    # Of three even tokens each lists 0.3 of the firings of that latent, which are its own alone.
    assert found == pytest.approx([told[0], told[1], 0.9 * told[2], 0.0, told[4], 0.5 * told[5]])
    assert interesting.above_chance([None, 0.5, 0.9, 0.3]) == pytest.approx([0, 0, 0.8, 0])


def test_the_score_is_the_product_and_nothing_for_dead_or_constant_latents():
    rates = np.array([0.0, 0.01, 0.01, 1.0] + [0.0] * 200)
    strength = np.ones(204)
    coherence = np.array([1.0, 0.5, np.nan, 1.0] + [1.0] * 200)
    found = interesting.interest(rates, 10**6, coherence, strength)
    assert found[[0, 2, 3]] == pytest.approx([0, 0, 0])
    assert found[1] == pytest.approx(0.5 * interesting.ranked(strength, rates > 0)[1])


def test_what_shows_the_same_is_picked_once():
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.0])
    signs = [frozenset(s) for s in ({1, 2, 3}, {1, 2, 9}, {7, 8, 9}, {3, 7}, {5})]
    assert interesting.picked(score, signs, 9) == [0, 2, 3]
    assert interesting.picked(score, signs, 1) == [0]
    directions = np.array([[1.0, 0], [0, 1.0], [0.8, 0.6], [0.6, -0.8], [1.0, 0]])
    assert interesting.picked(score, signs, 9, directions) == [0, 3]
