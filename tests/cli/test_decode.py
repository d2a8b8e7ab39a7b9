"""``isthmus decode``: what it says of codes that no file holds."""

import numpy as np
import pytest

import isthmus
from isthmus.cli.decode import decoded
from isthmus.cli.encode import encoded


@pytest.mark.parametrize("ending", [".npz", ".csv"])
def test_a_code_that_is_more_than_its_latents_is_decoded_in_python(ending, tmp_path):
    x = np.random.default_rng(0).normal(size=(16, 5, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    options = {"latent_dim": 8, "k": 2, "steps": 2, "batch_size": 8, "progress": False}
    model = isthmus.fit("temporal", str(tmp_path / "x.npy"), out=tmp_path / "run", **options)
    codes = tmp_path / f"codes{ending}"
    encoded(tmp_path / "run", str(tmp_path / "x.npy"), codes)
    with pytest.raises(isthmus.IsthmusError, match="encode\\(X, code=True\\)"):
        decoded(tmp_path / "run", codes, tmp_path / "y.npy")
    assert not (tmp_path / "y.npy").exists()
    assert model.decode(model.encode(x, code=True)).shape == x.shape
