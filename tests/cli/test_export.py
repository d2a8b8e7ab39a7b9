import numpy as np
import pytest
from typer.testing import CliRunner

import isthmus
from isthmus.cli import app
from isthmus.errors import IsthmusError


def test_a_run_is_exported_and_said(tmp_path):
    rows = np.random.default_rng(0).standard_normal((80, 6)).astype(np.float32)
    isthmus.fit("plain", rows, out=tmp_path / "run", steps=3, latent_dim=2, progress=False)
    output = tmp_path / "model.pt2"
    found = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "-o", str(output)])
    assert found.exit_code == 0, found.output
    assert output.exists()
    assert "x (rows, 6) -> z, reconstruction" in " ".join(found.output.split())


def test_another_ending_is_one_sentence(tmp_path):
    rows = np.random.default_rng(0).standard_normal((80, 6)).astype(np.float32)
    isthmus.fit("plain", rows, out=tmp_path / "run", steps=3, latent_dim=2, progress=False)
    found = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "-o", "model.tflite"])
    assert isinstance(found.exception, IsthmusError)
    assert "end it in .onnx or .pt2" in str(found.exception)


def dictionary(folder):
    rows = np.random.default_rng(0).standard_normal((80, 6)).astype(np.float32)
    isthmus.fit("topk", rows, out=folder, steps=3, latent_dim=12, k=3, progress=False)
    return rows


@pytest.mark.parametrize("layout", ["saelens", "sparsify", "dictionary_learning"])
def test_a_dictionary_in_the_layout_of_another_library(layout, tmp_path):
    rows = dictionary(tmp_path / "run")
    folder = tmp_path / "out"
    words = ["export", str(tmp_path / "run"), "-o", str(folder), "--to", layout]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "3 largest u" in " ".join(found.output.split())
    written = isthmus.from_pretrained(folder)
    assert written.cfg.metadata["format"] == layout
    codes = isthmus.load(tmp_path / "run").encode(rows)
    np.testing.assert_allclose(written.encode(rows), codes, rtol=1e-4, atol=1e-5)
    again = CliRunner().invoke(app, words)
    assert "there already" in str(again.exception)


def test_what_no_layout_is_called_and_half_a_dictionary(tmp_path):
    dictionary(tmp_path / "run")
    words = ["export", str(tmp_path / "run"), "-o", str(tmp_path / "out"), "--to"]
    found = CliRunner().invoke(app, [*words, "saelense"])
    assert isinstance(found.exception, IsthmusError)
    assert "did you mean 'saelens'" in str(found.exception)
    found = CliRunner().invoke(app, [*words, "saelens", "--piece", "encoder"])
    assert "leave out --piece" in str(found.exception)
    assert not (tmp_path / "out").exists()
