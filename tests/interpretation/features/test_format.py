"""The folder of features, by what is said of it once."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus.errors import IsthmusError
from isthmus.interpretation.features import read_features
from isthmus.interpretation.features.format import (
    COLUMNS,
    FILES,
    features_folder,
    read_columns,
    read_table,
    schema,
    write_features,
)

LATENTS = [
    {"latent": 0, "rate": 0.5, "near": [1], "near_cosine": [0.25], "tokens": [" a", "b"]},
    {"latent": 1, "rate": None, "near": [], "near_cosine": [], "tokens": None},
]
EXAMPLES = [
    {"latent": 0, "group": 0, "document": 1, "row": 2, "place": 3, "value": 1.5, "begin": 3,
     "tokens": [" a"], "values": [1.5], "split": 1},
]  # fmt: skip


def table(name, rows):
    return pa.Table.from_pylist(rows, schema(COLUMNS[name]))


@pytest.fixture
def folder(tmp_path):
    return write_features(
        tmp_path, table("latents", LATENTS), [table("examples", EXAMPLES)], None, {"latents": 2}
    )


def test_columns_have_the_types_that_are_said():
    kinds = schema({"a": "int8", "b": "list of float32", "c": "string"})
    assert kinds.types == [pa.int8(), pa.list_(pa.float32()), pa.string()]


def test_what_is_written_is_read(folder):
    found = read_features(folder.parent)
    assert found.about == {"format": 1, "latents": 2}
    assert found.folder == folder == features_folder(folder.parent) == features_folder(folder)
    for name in ("latents", "examples"):
        assert pq.read_schema(folder / FILES[name]).equals(schema(COLUMNS[name]))
    assert found.latent(0)["tokens"] == [" a", "b"]
    assert found.examples(0)[0].values == [1.5]
    with pytest.raises(IsthmusError, match=r"has no windows\.parquet"):
        found.table("windows")
    with pytest.raises(IsthmusError, match="rate"):
        found.table("latents", ["rates"])


def test_columns_in_numpy(folder):
    columns = read_columns(folder / FILES["latents"], COLUMNS["latents"])
    assert list(columns) == list(COLUMNS["latents"])
    assert columns["latent"].dtype == np.int64
    assert columns["rate"].dtype == columns["near_cosine"].flat.dtype == np.float64
    np.testing.assert_array_equal(columns["rate"], [0.5, np.nan])
    assert [columns["near"][i].tolist() for i in (0, 1)] == [[1], []]
    words = columns["tokens"]
    assert [words.words[i] for i in words[0]] == [" a", "b"]
    assert words.lengths.tolist() == [2, 0]
    single = read_columns(folder / FILES["examples"], COLUMNS["examples"], {"values": "float32"})
    assert single["values"].flat.dtype == np.float32
    assert single["group"].tolist() == [0]


def test_what_is_wrong_names_the_file_and_the_remedy(folder):
    with pytest.raises(IsthmusError, match="no column 'rates': compute the features again"):
        read_table(folder / FILES["latents"], ["rates"])
    with pytest.raises(IsthmusError, match="is missing: delete it"):
        read_table(folder / "nothing.parquet", remedy="delete it")
    (folder / FILES["latents"]).write_bytes(b"PAR1")
    with pytest.raises(IsthmusError, match=r"latents\.parquet is damaged"):
        read_table(folder / FILES["latents"])
    (folder / "about.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(IsthmusError, match="another version, in format 0"):
        read_features(folder)


def test_an_older_folder_without_windows_or_extra_columns_is_read(folder):
    """Only what is asked for has to be there."""
    narrow = pq.read_table(folder / FILES["latents"], columns=["latent", "rate"])
    pq.write_table(narrow, folder / FILES["latents"])
    assert read_features(folder).column("rate")[0] == 0.5
