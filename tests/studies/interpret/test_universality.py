"""Pairs of latents, and how alike their atoms are."""

import numpy as np
import pytest

from isthmus.studies.interpret.universality import alike, pairs

RNG = np.random.default_rng(0)
CODES = np.maximum(RNG.normal(size=(600, 200)), 0.0)
ORDER = RNG.permutation(200)


def test_planted_partners_are_found_and_strangers_have_none():
    others = 2.0 * CODES[:, ORDER]
    left, right, correlation = pairs(CODES, others, 0.1)
    np.testing.assert_array_equal(ORDER[right], left)
    assert len(left) == 200
    np.testing.assert_allclose(correlation, 1.0)
    strangers = np.maximum(RNG.normal(size=(600, 200)), 0.0)
    assert len(pairs(CODES, strangers, 0.5)[0]) == 0


def test_of_two_latents_with_one_partner_the_better_one_is_kept():
    noisy = CODES[:, :1] + 0.5 * RNG.normal(size=(600, 1))
    left, right, _ = pairs(np.hstack([noisy, CODES[:, :1]]), CODES[:, :1], 0.1)
    assert (left.tolist(), right.tolist()) == ([1], [0])


def test_rotated_atoms_are_alike_and_independent_ones_are_not():
    atoms = RNG.normal(size=(200, 12))
    rotated = (atoms @ np.linalg.qr(RNG.normal(size=(12, 12)))[0])[ORDER]
    same = alike(CODES, CODES[:, ORDER], atoms, rotated, np.random.default_rng(1))
    assert same["gain"] > 0.7  # canonical correlations of 1, less those of 12 of 200 dimensions
    assert same["gain_rsa"] > 0.7  # 1, less a correlation of random pairs
    assert same["pairs"] == 200
    independent = RNG.normal(size=(200, 12))
    other = alike(CODES, CODES[:, ORDER], atoms, independent, np.random.default_rng(1))
    assert abs(other["gain"]) < 0.1
    assert other["correlation"] == pytest.approx(1.0)
