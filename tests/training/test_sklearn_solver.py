"""What fits a model by an estimator: what it is given, says and leaves alone."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus import notices
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.training.model_rows import model_rows

X = np.random.default_rng(0).random((200, 6), dtype=np.float32) + 3.0


def sizes(name):
    return {"latent_dim": 4, **({"k": 2} if name == "sparse-coding" else {})}


def test_rows_are_those_that_the_model_reads():
    model = isthmus.fit("pca", X, latent_dim=2, scaling="columns", progress=False)
    rows = torch.cat(list(model_rows(model, as_source(X), "pca")))
    expected = (X - X.mean(0, dtype=float)) / X.std(0, dtype=float)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    some = torch.tensor([5, 1, 7])
    np.testing.assert_array_equal(
        torch.cat(list(model_rows(model, as_source(X), "pca", some))), rows[some]
    )


def test_that_it_has_not_converged_is_said():
    with notices.collected(quiet=True) as said:
        isthmus.fit("nmf", X, latent_dim=3, iterations=1, progress=False)
    assert any("nmf had not converged" in sentence for sentence in said)
    with notices.collected(quiet=True) as said:
        isthmus.fit("nmf", X, latent_dim=3, iterations=4000, progress=False)
    assert not any("converged" in sentence for sentence in said)


def test_the_random_generators_of_the_user_stay_where_they_were():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.rand(3)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    isthmus.fit("sparse-coding", X, latent_dim=8, k=2, passes=1, progress=False)
    np.testing.assert_array_equal(np.random.rand(3), expected)  # noqa: NPY002


@pytest.mark.parametrize("name", ["pca", "ica", "nmf", "k-means", "sparse-coding"])
def test_rows_with_a_mask_are_refused(name):
    source = as_source(X)
    inner = source.batch

    def masked(index):
        batch = inner(index)
        return type(batch)(batch.x, batch.rows, torch.ones_like(batch.x, dtype=torch.bool))

    source.batch = masked
    options, _ = get_recipe(name).parse(sizes(name))
    model = get_recipe(name).build(source.signal, options)
    with pytest.raises(IsthmusError, match=f"{name} reads complete rows"):
        model.solver.fit(model, source, lambda *_: None)


@pytest.mark.parametrize("name", ["pca", "ica", "nmf", "k-means", "sparse-coding"])
def test_it_is_an_ordinary_model(name, tmp_path):
    """Fitted, saved, loaded, measured, and compared with others."""
    model = isthmus.fit(name, X, progress=False, out=tmp_path / "run", **sizes(name))
    loaded = isthmus.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.encode(X), model.encode(X))
    np.testing.assert_array_equal(loaded.decode(loaded.encode(X)), model.reconstruct(X))
    assert isthmus.evaluate(loaded, X)["fvu"].value < 1.0
    assert model.atoms().shape == (4, 6)


@pytest.mark.parametrize("images", [True, False])
def test_they_stand_in_a_comparison_and_pca_is_the_baseline_there(images):
    """Which standardises columns but no images: nothing without negative elements is then left."""
    rows = np.random.default_rng(0).random((90, 1, 4, 4), dtype=np.float32) if images else X
    names = ["k-means", "sparse-coding", "pca", "nmf"]
    with notices.collected(quiet=True) as said:
        comparison = isthmus.compare(rows, names, "reconstruct", seeds=1, latents=2)
    assert {"k-means", "sparse-coding", "pca"} <= set(comparison.ranking)
    assert comparison.ranking.count("pca") == 1
    assert any("pca is a baseline" in sentence for sentence in said)
    assert ("nmf" in comparison.ranking) == images
    assert images or "without negative elements" in comparison.left_out["nmf"]
