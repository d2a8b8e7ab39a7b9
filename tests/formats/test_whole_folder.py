"""A folder for another library is written whole or not at all."""

import numpy as np
import pytest

import isthmus
from isthmus.errors import IsthmusError
from isthmus.formats import write
from isthmus.formats.whole_folder import whole_folder


def test_what_fails_midway_leaves_nothing(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    model = isthmus.fit("topk", rows, latent_dim=12, k=3, steps=2, progress=False)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", full)
        for layout in ("saelens", "sparsify", "dictionary_learning"):
            with pytest.raises(IsthmusError, match="No space left on device; free some space"):
                write(model, tmp_path / "out", layout)
            assert not [*tmp_path.iterdir()]
    write(model, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "cfg.json",
        "sae_weights.safetensors",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_filled_and_a_full_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with whole_folder(".") as partial:
        (partial / "a").write_text("b")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    with pytest.raises(IsthmusError, match="is there already"), whole_folder(tmp_path / "here"):
        pass
