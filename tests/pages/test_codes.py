"""Codes by latent, against the dense matrix; likeness of latents, against scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import jaccard_score

import isthmus
from isthmus.data import ArraySource
from isthmus.evaluation import cosines as _dictionaries
from isthmus.pages import codes, directions
from isthmus.pages.latents_from_rows import latents_of

X = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)


@pytest.fixture(scope="module", params=["topk", "relu-l1", "beta-vae", "plain"])
def fitted(request):
    more = {"k": 4} if request.param == "topk" else {}
    model = isthmus.fit(
        request.param, X, latent_dim=16, steps=20, batch_size=64, progress=False, **more
    )
    return model, codes.codes_of(model, ArraySource(X))


def test_moments_are_those_of_the_dense_codes(fitted):
    model, found = fitted
    z = model.encode(X).astype(np.float64)
    assert found.matrix.toarray() == pytest.approx(z, abs=1e-6)
    assert found.mean_code == pytest.approx(z.mean(0), abs=1e-6)
    assert found.stds == pytest.approx(z.std(0), abs=1e-6)
    counts = (z != 0).sum(0) if found.sparse else np.full(16, len(X))
    assert np.array_equal(found.counts, counts)
    with np.errstate(invalid="ignore"):
        assert found.means == pytest.approx(z.sum(0) / counts, abs=1e-6, nan_ok=True)
    rows, values = found.values(3)
    assert z[rows, 3] == pytest.approx(values, abs=1e-6)


def test_divergence_of_a_gaussian_code_is_that_of_the_measure():
    model = isthmus.fit("vae", X, latent_dim=5, steps=5, batch_size=64, progress=False)
    found = codes.codes_of(model, ArraySource(X))
    assert found.kl == pytest.approx(isthmus.evaluate(model, X)["kl"].per, rel=1e-5)


def test_reading_stops_where_values_are_too_many(monkeypatch):
    monkeypatch.setattr(codes, "BATCH", 100)
    monkeypatch.setattr(codes, "MOST_ENTRIES", 1000)
    model = isthmus.fit("plain", X, latent_dim=8, steps=2, batch_size=64, progress=False)
    assert codes.codes_of(model, ArraySource(X)).rows == 200


def test_histogram():
    found = codes.histogram(np.array([0.0, 1.0, 1.0]))
    assert sum(found["h"]) == 3
    assert found["h"][-1] == 2
    assert found["hr"] == [0, 1]
    assert codes.histogram(np.empty(0)) == {}
    assert sum(codes.histogram(np.array([2.0, 2.0]))["h"]) == 2


def test_what_goes_together(fitted):
    model, found = fitted
    z = model.encode(X)
    for latent, others in zip(range(2, 9), directions.Together(found).of(2, 9), strict=True):
        for other, value in others:
            assert other != latent
            if found.sparse:
                right = jaccard_score(z[:, latent] != 0, z[:, other] != 0)
            else:
                right = np.corrcoef(z[:, latent], z[:, other])[0, 1]
            assert value == pytest.approx(right, abs=1e-5)
        strength = [abs(value) for _, value in others]
        assert strength == sorted(strength, reverse=True)


def test_nearest_directions_are_those_of_all_cosines(monkeypatch):
    monkeypatch.setattr(_dictionaries, "PIECE", 100)
    rows = directions.unit(np.random.default_rng(1).normal(size=(50, 6)))
    numbers, cosines = directions.nearest(rows)
    every = rows @ rows.T
    np.fill_diagonal(every, -np.inf)
    assert cosines == pytest.approx(-np.sort(-every, 1)[:, : directions.NEIGHBOURS], abs=1e-6)
    assert np.take_along_axis(every, numbers, 1) == pytest.approx(cosines, abs=1e-6)
    assert directions.nearest(rows[:1]) is None


def test_the_plane_is_that_of_the_principal_components():
    rows = directions.unit(np.random.default_rng(2).normal(size=(40, 5)))
    found, right = directions.plane(rows), PCA(2, svd_solver="full").fit_transform(rows)
    assert np.abs((found * right).sum(0)) == pytest.approx((right**2).sum(0), rel=1e-5)
    assert directions.plane(rows[:2]) is None
    assert directions.plane(np.ones((5, 3))) is None


def test_changes_of_a_linear_decoder_are_its_scaled_columns():
    model = isthmus.fit(
        "plain", X, latent_dim=3, hidden=(), scaling="none", steps=5, progress=False
    )
    found = codes.codes_of(model, ArraySource(X))
    weight = model.decoder.layers[-1].weight.detach().numpy()
    change = directions.changes(model, found, np.array([0, 2]))
    assert change == pytest.approx((weight * model.encode(X).std(0)).T[[0, 2]], abs=1e-5)


def test_directions_of_a_table_are_compared_in_standard_deviations():
    """A column of large numbers would else be all that counts."""
    scales = np.array([1e4] + [1.0] * 11, np.float32)
    model = isthmus.fit("plain", X * scales, latent_dim=3, steps=30, batch_size=64, progress=False)
    source = ArraySource(X * scales)
    found = codes.codes_of(model, source)
    latents = latents_of(model, source, found)
    columns = {column.key: column for column in latents.columns}
    assert "standard deviations of the columns" in columns["norm"].about
    moves = directions.changes(model, found, np.arange(3)) / (X * scales).std(0)
    assert columns["norm"].values == pytest.approx(np.linalg.norm(moves, axis=1), rel=0.05)
    unit = moves / np.linalg.norm(moves, axis=1, keepdims=True)
    cosines = unit @ unit.T - 2 * np.eye(3)
    assert columns["cosine"].values == pytest.approx(cosines.max(1), abs=0.05)
