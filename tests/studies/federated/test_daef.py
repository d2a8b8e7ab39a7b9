"""A federation's rounds, and what its control gets wrong."""

import numpy as np

from isthmus.studies.federated.daef import _federation, _pca, _problems


def test_merged_partitions_give_the_weights_of_one_fit_and_averages_do_not():
    found = _federation(0)
    assert found["merged"]["largest_gap"] < 1e-8
    assert found["averaged"]["largest_gap"] > 1e-2


def test_pca_scores_are_minus_the_squared_distance_to_the_subspace():
    rng = np.random.default_rng(0)
    rows = rng.random((60, 7), dtype=np.float32)
    queries = rng.random((5, 7), dtype=np.float32)
    middle = rows.mean(0)
    axes = np.linalg.svd(rows - middle)[2][:4]
    away = (queries - middle) - (queries - middle) @ axes.T @ axes
    np.testing.assert_allclose(_pca(rows, 0)(queries), -(away**2).mean(1), rtol=1e-3)


def test_there_are_twelve_problems_without_a_row_on_both_sides():
    problems = _problems(0)
    assert len(problems) == 12
    assert sum(len(normal) for name, (normal, _) in problems.items() if "digit" in name) == 1797
    for normal, odd in problems.values():
        assert len(normal) > 100
        assert not {row.tobytes() for row in normal} & {row.tobytes() for row in odd}
