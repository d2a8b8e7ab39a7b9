"""A fitted model reads files, folders and sets by name, as fit does."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import isthmus
from isthmus.errors import IsthmusError


def fitted(recipe, X, **options):
    return isthmus.fit(recipe, X, steps=2, latent_dim=2, progress=False, **options)


def test_a_table_by_its_path_is_the_frame(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=30), "word": ["u", "v", "w"] * 10})
    frame.to_csv(tmp_path / "x.csv", index=False)
    path = tmp_path / "x.csv"
    model = fitted("vae", path)
    for name in (path, str(path)):
        np.testing.assert_array_equal(model.encode(name), model.encode(frame))
        np.testing.assert_array_equal(model.score(name), model.score(frame))
        np.testing.assert_array_equal(model.predict(name), model.predict(frame))
        np.testing.assert_array_equal(model.drivers(name), model.drivers(frame))
    assert isinstance(model.score(path), np.ndarray)
    pd.testing.assert_frame_equal(model.reconstruct(path), model.reconstruct(frame))
    assert len(model.encode(path, code=True)) == 30


def test_a_table_of_numbers_by_its_path(tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    pd.DataFrame(X, columns=list("abcd")).to_csv(tmp_path / "x.csv", index=False)
    np.save(tmp_path / "x.npy", X)
    model = fitted("plain", X)
    for name in ("x.csv", "x.npy"):
        np.testing.assert_allclose(model.score(tmp_path / name), model.score(X), rtol=1e-5)
        np.testing.assert_allclose(
            model.reconstruct(tmp_path / name), model.reconstruct(X), rtol=1e-5
        )
    pd.DataFrame(X[:, :3], columns=list("abc")).to_csv(tmp_path / "y.csv", index=False)
    with pytest.raises(IsthmusError, match="3"):
        model.score(tmp_path / "y.csv")


def test_pictures_come_back_in_the_layout_of_fit(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    model = fitted("plain", folder)
    found = model.reconstruct(str(folder))
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == ((6, 8, 10, 3), np.uint8)
    one = model.reconstruct(folder / "3.png")
    assert np.abs(one.astype(int) - found[3:4]).max() <= 1  # batches of other sizes round otherwise
    assert model.score(folder).shape == (6,)
    assert model.encode(folder).shape == (6, 2)


def test_what_is_not_there_is_one_sentence():
    model = fitted("plain", np.random.default_rng(0).normal(size=(20, 3)))
    for verb in (model.encode, model.reconstruct, model.score, model.predict):
        with pytest.raises(IsthmusError, match=r"nowhere\.csv"):
            verb("./nowhere.csv")


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
def test_a_sparse_matrix_is_read_as_fit_reads_it(layout):
    sparse = pytest.importorskip("scipy.sparse")
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    X[X < 0] = 0.0
    S = sparse.csr_matrix(X).asformat(layout)
    model = isthmus.fit("plain", S, latent_dim=2, steps=3, progress=False)
    for method in ("encode", "score", "reconstruct", "drivers", "predict"):
        dense = getattr(model, method)(S)
        assert isinstance(dense, np.ndarray)
        np.testing.assert_array_equal(dense, getattr(model, method)(X))
    assert len(model.encode(S, code=True)) == 30
