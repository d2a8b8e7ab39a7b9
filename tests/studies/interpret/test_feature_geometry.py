"""Lobes of planted topics, against counts by hand."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from isthmus.studies.interpret.feature_geometry import (
    LOBES,
    clustered,
    in_blocks,
    nearness,
    phi,
    slope,
    usable,
)


def test_phi_is_that_of_the_table_of_two_by_two():
    on = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [30, 10, 20, 40], axis=0).astype(bool)
    expected = (30 * 40 - 10 * 20) / np.sqrt(40 * 60 * 50 * 50)
    assert phi(on)[0, 1] == pytest.approx(expected)


def test_a_latent_is_on_in_a_block_where_it_is_on_once():
    active = np.zeros((9, 2), bool)
    active[[1, 8], 0] = True
    np.testing.assert_array_equal(in_blocks(active, 4), [[True, False], [False, False]])


def test_latents_that_are_always_or_never_on_are_left_out():
    on = np.random.default_rng(0).random((400, 3)) < [0.0, 0.5, 1.0]
    np.testing.assert_array_equal(usable(on, np.random.default_rng(0)), [1])


def test_planted_topics_are_lobes_and_clusters_of_atoms():
    rng = np.random.default_rng(1)
    topic = np.repeat(np.arange(LOBES), 40)
    passages = rng.integers(LOBES, size=600)
    on = rng.random((600, len(topic))) < np.where(passages[:, None] == topic, 0.6, 0.1)
    atoms = 2.0 * np.eye(LOBES, 48)[topic] + 0.2 * rng.normal(size=(len(topic), 48))
    lobes, places = clustered(1.0 + phi(on), 0), clustered(nearness(atoms), 0)
    assert adjusted_mutual_info_score(lobes, topic) > 0.95
    assert adjusted_mutual_info_score(lobes, places) > 0.95
    random = clustered(nearness(rng.normal(size=atoms.shape)), 0)
    assert abs(adjusted_mutual_info_score(lobes, random)) < 0.1


def test_a_power_law_has_its_exponent_for_slope():
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.normal(size=(4000, 40)))[0]
    basis = np.linalg.qr(basis - basis.mean(0))[0]
    assert slope(basis * np.arange(1.0, 41.0) ** -0.75) == pytest.approx(-1.5, abs=1e-6)
