import numpy as np
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
