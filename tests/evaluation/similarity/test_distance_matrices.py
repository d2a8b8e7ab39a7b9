"""RSA from distances and ranks that are computed by hand."""

import numpy as np
import pytest

from isthmus.errors import IsthmusError
from isthmus.evaluation.similarity import rsa


def arrays(n=25, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, 6))
    return a, a @ rng.normal(size=(6, 5)) + rng.normal(size=(n, 5))


def apart(rows, distance):
    rows = rows - rows.mean(0)
    i, j = np.triu_indices(len(rows), 1)
    if distance == "euclidean":
        return np.sqrt(np.square(rows[i] - rows[j]).sum(1))
    if distance == "correlation":
        rows = rows - rows.mean(1, keepdims=True)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return 1.0 - (unit[i] * unit[j]).sum(1)


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean"])
@pytest.mark.parametrize("agreement", ["spearman", "pearson"])
def test_it_is_the_correlation_of_the_distances(distance, agreement):
    a, b = arrays()
    pairs = [apart(rows, distance) for rows in (a, b)]
    if agreement == "spearman":
        pairs = [x.argsort().argsort().astype(float) for x in pairs]
    expected = np.corrcoef(*pairs)[0, 1]
    assert rsa(a, b, distance=distance, agreement=agreement).value == pytest.approx(expected)


def test_ranks_ignore_what_keeps_the_order_of_distances():
    a, _ = arrays()
    line = a[:, :1] - a[:, :1].mean()
    assert rsa(line, 9.0 * line + 4.0, distance="euclidean").value == pytest.approx(1.0)
    assert rsa(a, -3.0 * a, distance="euclidean").value == pytest.approx(1.0)


def test_what_has_no_distance_is_said():
    a, b = arrays()
    with pytest.raises(IsthmusError, match="no correlation with others"):
        rsa(a[:, :1], b)
    with pytest.raises(IsthmusError, match="distance"):
        rsa(a, b, distance="manhattan")
    simplex = np.eye(8)
    result = rsa(simplex, np.random.default_rng(0).normal(size=(8, 3)), distance="euclidean")
    assert np.isnan(result.value)
    assert "equally far apart" in result.note
