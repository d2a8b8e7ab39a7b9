"""A set by name whose rows are a table with text and gaps."""

import hashlib
import json

import numpy as np

from isthmus.comparison.prepared import prepare, split


def test_table_of_a_name_is_prepared_by_each_split_with_all_its_rows(tmp_path, monkeypatch):
    lines = ["part,a,b,y"]
    lines += [f"{'test' if i % 4 == 0 else 'train'},{'' if i == 3 else i},{'rg'[i % 2]},{i / 7}"
              for i in range(40)]  # fmt: skip
    content = "\n".join(lines).encode()
    (tmp_path / "tabular").mkdir()
    (tmp_path / "tabular" / "mixed.csv").write_bytes(content)
    file = {
        "path": "tabular/mixed.csv", "sha256": hashlib.sha256(content).hexdigest(),
        "read": {"as": "table", "target": "y", "split": "part"},
    }  # fmt: skip
    item = {"what": "W", "licence": "L", "citation": "C", "files": [file]}
    (tmp_path / "manifest.json").write_text(json.dumps([item]))
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))

    found = prepare("mixed")
    assert (found.name, found.rows) == ("mixed", 40)
    assert any("joined, and split anew" in note for note in found.notes)
    parts = split(found, seed=0)
    assert len(parts.train) + len(parts.test) == 40
    labels = np.concatenate([parts.train_labels, parts.test_labels])
    np.testing.assert_allclose(np.sort(labels), np.arange(40) / 7, rtol=1e-6)
    assert np.isfinite(parts.train).all()
