"""Runs that an earlier version wrote are read as they are, or answered in one sentence.

``tests/formats/format1`` holds small runs of format 1 with the codes and reconstructions that they
gave then; those here are of rows that were an input and a target side by side.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import IsthmusError
from isthmus.training.checkpoint import read_checkpoint

FORMAT1 = Path(__file__).parents[1] / "formats" / "format1"
SPLIT = {
    "transcoder": ("in", "out"),
    "transcoder-k": ("in", "out"),
    "transcoder-l0": ("in", "out"),
    "transcoder-parts": ("layers.1.mlp:in", "layers.1.mlp"),
}
"""Runs of two parts, and what these are called."""


def vectors():
    """The rows that the runs were fitted to, ``(48, 12)``."""
    rng = np.random.default_rng(1)
    basis, weights = rng.normal(size=(3, 12)), rng.normal(size=(48, 3))
    rows = 0.1 * rng.normal(size=(48, 12))
    for i in range(3):
        rows = rows + weights[:, i : i + 1] * basis[i]
    return rows.astype(np.float32)


def expected(name):
    with np.load(FORMAT1 / "expected" / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.mark.parametrize("name", SPLIT)
def test_a_transcoder_of_one_long_row_reads_two_parts(name, tmp_path):
    wanted = expected(name)
    read, written = SPLIT[name]
    X = {read: wanted["x"][:, :7], written: wanted["x"][:, 7:]}
    model = isthmus.load(FORMAT1 / name)
    assert {n: part.shape for n, part in model.signal.parts.items()} == {read: (7,), written: (5,)}
    np.testing.assert_allclose(model.encode(X), wanted["encode"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.reconstruct(X), wanted["reconstruct"], rtol=1e-5, atol=1e-6)
    assert "inputs" not in model.config["options"]
    # It is a run of today from then on.
    isthmus.save(model, tmp_path / "copy")
    again = isthmus.load(tmp_path / "copy")
    np.testing.assert_array_equal(again.encode(X), model.encode(X))


def test_every_tensor_of_a_training_state_has_its_new_name():
    """Those of the weights, of the best of them and of their average."""
    kept = read_checkpoint(FORMAT1 / "transcoder-parts", state=True)
    model = isthmus.load(FORMAT1 / "transcoder-parts")
    own = {n.removeprefix("model."): t for n, t in kept.state.items() if n.startswith("model.")}
    model.load_state_dict(own)  # strictly: no name is missing or left over
    for prefix in ("best", "average"):
        assert f"{prefix}.encoder.each.layers·1·mlp:in.weight" in kept.state
        assert f"{prefix}.encoder.weight" not in kept.state


def test_the_scalers_are_the_factor_and_the_scale_of_before():
    """Each is the root mean square of its part of the rows."""
    model, rows = isthmus.load(FORMAT1 / "transcoder-k"), vectors()
    for name, part in (("in", rows[:, :7]), ("out", rows[:, 7:])):
        size = np.sqrt(np.square(part.astype(np.float64)).mean())
        assert float(model.scaler[name].scale) == pytest.approx(size, rel=1e-5)


def test_rows_that_are_their_own_target_stay_one_vector():
    wanted, model = expected("transcoder-own"), isthmus.load(FORMAT1 / "transcoder-own")
    assert model.signal.shape == (12,)
    np.testing.assert_allclose(model.encode(wanted["x"]), wanted["encode"], rtol=1e-5)
    rebuilt = model.reconstruct(wanted["x"])
    np.testing.assert_allclose(rebuilt, wanted["reconstruct"], rtol=1e-5, atol=1e-6)


def test_their_unfinished_run_goes_on(tmp_path):
    wanted = expected("transcoder-own-unfinished")
    shutil.copytree(FORMAT1 / "transcoder-own-unfinished", tmp_path / "run")
    model = isthmus.resume(tmp_path / "run", vectors(), progress=False)
    np.testing.assert_allclose(model.encode(wanted["x"][:4]), wanted["encode"], rtol=1e-5)


def test_an_unfinished_run_of_two_parts_is_one_sentence(tmp_path):
    shutil.copytree(FORMAT1 / "transcoder-unfinished", tmp_path / "run")
    with pytest.raises(IsthmusError, match=r"side by side: go on with isthmus 0\.1\.0") as problem:
        isthmus.resume(tmp_path / "run", vectors(), progress=False)
    assert "\n" not in str(problem.value)
    # Its weights so far can be had.
    parts = torch.from_numpy(vectors()).split([7, 5], 1)
    model = isthmus.load(tmp_path / "run")
    assert model.encode(dict(zip(("in", "out"), parts, strict=True))).shape == (48, 12)
