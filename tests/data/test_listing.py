import hashlib
import json

import numpy as np
import pytest

from isthmus.data import listing, public
from isthmus.errors import IsthmusError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a set that the library knows, one of its own, and one whose file is gone."""
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    items = []
    for file in ("images/mnist.npz", "mine/own.npz", "mine/gone.npz"):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        np.savez(path, x_train=np.eye(3))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        about = {"what": f"W of {path.stem}", "licence": "[L]", "citation": "C"}
        items.append({**about, "files": [{"path": file, "sha256": digest}]})
    (tmp_path / "mine" / "gone.npz").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(items))
    return tmp_path


def test_list_says_where_every_set_is(folder):
    found = {row[0]: row[1:] for row in listing.rows()}
    assert found["digits"] == ("always", "", "")
    assert found["mnist"] == ("folder", "9.5 MB", "[L]")
    assert found["own"][0] == "folder"
    assert found["gone"][0] == "missing"
    assert found["fashion_mnist"] == ("to fetch", "15.1 MB", "MIT, Zalando SE")
    assert found["cora"][0] == "not here"


def test_show_tells_source_citation_and_licence(folder):
    fashion, own, cora, digits = map(listing.shown, ["Fashion-MNIST", "own", "cora", "digits"])
    assert "licence: MIT, Zalando SE" in fashion
    assert "Xiao, Rasul, Vollgraf 2017" in fashion
    assert "isthmus data fetch fashion_mnist, 30.9 MB to download" in fashion
    assert "W of own" in own
    assert str(folder) in own
    assert "cannot be fetched" in cora
    assert "always here" in digits


def test_wrong_names_are_answered(folder):
    with pytest.raises(IsthmusError, match="'fashion_mnist'"):
        listing.shown("fashion_mnits")
    with pytest.raises(IsthmusError, match="unknown public data set 'nonsense'"):
        listing.fetched(["mnist", "nonsense"])  # none of them is fetched then


def test_shown_table_has_every_row(folder):
    assert listing.table().row_count == len(listing.rows()) > len(public.sets())
