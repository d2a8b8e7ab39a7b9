"""Tables that are parts of a collection: by name, with text and gaps, given back as they came."""

import numpy as np
import pandas as pd
import pytest

import isthmus
from isthmus.errors import IsthmusError

RNG = np.random.default_rng(0)
N = 40
IMAGES = RNG.integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
NUMBERS = pd.DataFrame(RNG.normal(size=(N, 3)) * [1, 10, 100], columns=[*"abc"])
MIXED = NUMBERS.assign(k=RNG.choice(["u", "v", "w"], N), far=np.arange(N) + 1e10)
MIXED.loc[3, "a"] = np.nan


def fitted(X, **more):
    own = {"latent_dim": 2, "steps": 3, "batch_size": 8, "seed": 0, "progress": False}
    return isthmus.fit("mvae", X, **own, **more)


@pytest.mark.parametrize("frame", [NUMBERS, MIXED], ids=["numbers", "mixed"])
def test_columns_of_a_part_are_found_by_name(frame, tmp_path):
    X = {"table": frame, "image": IMAGES}
    model = fitted(X, out=tmp_path / "run")
    z = model.encode(X)
    turned = {"image": IMAGES, "table": frame[frame.columns[::-1]]}
    np.testing.assert_array_equal(model.encode(turned), z)
    np.testing.assert_array_equal(model.score(turned), model.score(X))
    order = RNG.permutation(N)
    shuffled = {"table": frame.iloc[order], "image": IMAGES[order]}
    np.testing.assert_allclose(model.encode(shuffled), z[order], rtol=1e-5, atol=1e-6)
    again = isthmus.load(tmp_path / "run")
    np.testing.assert_array_equal(again.encode(turned), z)
    with pytest.raises(IsthmusError, match="lacks the column 'b'"):
        model.encode({"table": frame.drop(columns="b"), "image": IMAGES})


@pytest.mark.parametrize("frame", [NUMBERS, MIXED], ids=["numbers", "mixed"])
def test_a_part_comes_back_as_a_frame(frame):
    X = {"table": frame, "image": IMAGES}
    found = fitted(X).reconstruct(X)
    assert found["table"].columns.equals(frame.columns)
    assert found["table"].index.equals(frame.index)
    assert found["image"].shape == IMAGES.shape
    assert found["image"].dtype == np.uint8
