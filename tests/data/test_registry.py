import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets

from isthmus.data import Planted, Sprites, as_source, load, names
from isthmus.data.bundled import BUNDLED
from isthmus.errors import IsthmusError
from isthmus.tables import Preparation, PrepareOptions

from .shared_data import shared_folder


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.delenv("ISTHMUS_DATA", raising=False)


@pytest.fixture
def shared(monkeypatch):
    folder = shared_folder()
    monkeypatch.setenv("ISTHMUS_DATA", str(folder))
    return folder


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder of data sets with one archive and one text file."""
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    (tmp_path / "images").mkdir()
    np.savez(tmp_path / "images" / "tiny_set.npz", x_train=np.eye(3), y_train=np.arange(3))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "novel.txt").write_text("Once.")
    items = []
    for path in ("images/tiny_set.npz", "text/novel.txt"):
        digest = hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
        file = {"path": path, "sha256": digest}
        items.append({"licence": "L", "citation": "C", "what": "W", "files": [file]})
    (tmp_path / "manifest.json").write_text(json.dumps(items))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("digits", datasets.load_digits),
        ("breast-cancer", datasets.load_breast_cancer),
        ("wine", datasets.load_wine),
        ("iris", datasets.load_iris),
        ("diabetes", datasets.load_diabetes),
    ],
)
def test_bundled_parts_together_are_the_original_rows_and_labels(name, loader, alone):
    data, bunch = load(name), loader()
    scale = 16 if name == "digits" else 1
    rows = np.concatenate([data.train, data.test]).reshape(len(bunch.data), -1)
    labels = np.concatenate([data.train_labels, data.test_labels])
    together = np.column_stack([rows, labels])
    original = np.column_stack([(bunch.data / scale).astype(np.float32), bunch.target])
    np.testing.assert_array_equal(
        together[np.lexsort(together.T)], original[np.lexsort(original.T)]
    )
    assert len(data.test) == int(np.ceil(len(rows) / 4))
    np.testing.assert_array_equal(load(name).train, data.train)
    assert data.licence
    assert data.citation


def test_digits_are_unit_images(alone):
    train, test = load("digits").sources()
    assert train.signal.shape == (1, 8, 8)
    assert train.signal.is_unit
    assert len(train) + len(test) == 1797


def test_made_sets_are_the_rows_of_their_sources(alone):
    planted = load("planted")
    np.testing.assert_array_equal(planted.test, Planted().at(np.arange(20_000, 24_000))[0])
    sprites = load("sprites")
    source = Sprites()
    index = source.index(torch.from_numpy(sprites.test_labels[:5]))
    np.testing.assert_array_equal(sprites.test[:5], source.rows(index)[:, 0].numpy() * 255)


def test_names_without_a_folder_are_the_bundled_ones(alone):
    assert names() == sorted(BUNDLED)
    assert load("Breast_Cancer").name == "breast-cancer"


def test_unknown_names_are_answered(alone):
    with pytest.raises(IsthmusError, match=r"did you mean 'digits'; more .* ISTHMUS_DATA"):
        as_source("digitz")
    with pytest.raises(IsthmusError, match=r"known are breast-cancer, .*ISTHMUS_DATA"):
        as_source("qqqq")
    with pytest.raises(IsthmusError, match="unknown data set ''"):
        as_source("")


def test_folder_sets_are_read_and_described(made):
    data = load("tiny-SET")
    np.testing.assert_array_equal(data.train, np.eye(3))
    assert data.test is None
    assert data.train_labels.tolist() == [0, 1, 2]
    assert (data.licence, data.citation, data.description) == ("L", "C", "W")
    assert "tiny_set" in names()
    assert "novel" not in names()
    with pytest.raises(IsthmusError, match=r"did you mean 'tiny_set'$"):
        load("tiny_st")


def test_sets_that_are_no_rows_say_what_they_are(made):
    with pytest.raises(IsthmusError, match="'novel' holds text"):
        load("novel")
    with pytest.raises(IsthmusError, match="no channels"):
        load("tiny_set:a")


def test_altered_file_fails_its_checksum(made):
    load("tiny_set")
    np.savez(made / "images" / "tiny_set.npz", x_train=np.eye(4))
    with pytest.raises(IsthmusError, match="differs from its checksum"):
        load("tiny_set")
    (made / "images" / "tiny_set.npz").unlink()
    with pytest.raises(IsthmusError, match="restore the file"):
        load("tiny_set")


@pytest.mark.parametrize("content", [None, "no json", "[1]", '[{"files": [{}]}]'])
def test_bad_manifest_is_an_error(content, tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(IsthmusError, match="no readable manifest"):
        names()


@pytest.mark.parametrize(
    ("name", "train", "test", "kind"),
    [
        ("omniglot_small1_28", (2720, 28, 28), None, "image"),
        ("thyroid", (3772, 6), None, "vector"),
        ("adbench/wine", (129, 13), None, "vector"),
        ("wine_quality", (6497, 11), None, "vector"),
        ("esol_delaney", (1128, 6), None, "vector"),
        ("BasicMotions", (40, 100, 6), (40, 100, 6), "series"),
        ("smap:P-1", (2872, 25), (8505, 25), "vector"),
        ("jasper_ridge_hsi", (10000, 99), None, "vector"),
    ],
)
def test_shared_sets_have_their_published_shapes(name, train, test, kind, shared):
    data = load(name)
    assert data.train.shape == train
    assert (None if data.test is None else data.test.shape) == test
    assert data.train_labels is None or len(data.train_labels) == len(data.train)
    assert data.test_labels is None or len(data.test_labels) == len(data.test)
    assert data.sources()[0].signal.kind == kind


def test_shared_table_is_what_pandas_reads(shared):
    frame = pd.read_csv(shared / "tabular" / "abalone.csv.gz")
    data = load("abalone")
    np.testing.assert_array_equal(data.train_labels, frame["rings"].to_numpy(np.float32))
    pd.testing.assert_frame_equal(data.train, frame.drop(columns="rings"), check_dtype=False)


def test_shared_table_with_gaps_is_prepared_like_its_file(shared):
    frame = pd.read_csv(shared / "tabular" / "california_housing.csv.gz")
    assert frame["total_bedrooms"].isna().sum() == 207
    named = as_source("california_housing")
    own = as_source(f"{shared / 'tabular' / 'california_housing.csv.gz'}:-median_house_value")
    options = PrepareOptions()
    made = [Preparation.learn(s.table, None, options).apply(s.table) for s in (named, own)]
    assert len(made[0]) == len(frame)
    np.testing.assert_array_equal(*made)


def test_shared_table_in_two_parts_keeps_its_own_split(shared):
    data = load("adult")
    assert (len(data.train), len(data.test)) == (32_561, 16_281)
    assert list(data.train.columns) == list(data.test.columns)
    assert not {"split", "income", "fnlwgt"} & set(data.train.columns)
    assert set(np.unique(data.train_labels)) == {0, 1}


def test_every_listed_shared_set_is_known_to_be_rows(shared):
    listed = names()
    assert {"mnist", "cifar10_sample", "adbench/thyroid", "ETTh1"} <= set(listed)
    assert not {"cora", "trec", "smap"} & set(listed)
    with pytest.raises(IsthmusError, match="'smap:A-1'"):
        load("smap")
    with pytest.raises(IsthmusError, match="'cora' holds graphs"):
        load("cora")


@pytest.mark.slow
def test_every_listed_shared_set_loads(shared):
    for name in names():
        train, test = load(name).sources()
        assert test is None or test.signal.shape == train.signal.shape
