"""Masks of positions, sizes of a table's rows, and who reads rows of different lengths."""

import numpy as np
import pandas as pd
import pytest
import torch

import isthmus
from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.estimators import AutoencoderTransformer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5, 6)).astype(np.float32)
SEEN = RNG.random((8, 5)) > 0.3


def fitted(data, **options):
    return isthmus.fit("topk", data, latent_dim=12, k=2, steps=3, progress=False, **options)


@pytest.mark.parametrize("mask", [SEEN, SEEN.astype(int), torch.from_numpy(SEEN)])
def test_positions_that_a_mask_leaves_out_are_no_rows(mask):
    alone = fitted(X[SEEN])
    with notices.collected(quiet=True) as notes:
        masked = fitted(X, mask=mask)
    np.testing.assert_array_equal(masked.encode(X[SEEN]), alone.encode(X[SEEN]))
    assert any(f"{(~SEEN).sum()} of 40 positions" in note for note in notes)


def test_what_is_not_there_may_be_nan():
    holes = X.copy()
    holes[~SEEN] = np.nan
    np.testing.assert_array_equal(
        fitted(holes, mask=SEEN).encode(X[SEEN]), fitted(X, mask=SEEN).encode(X[SEEN])
    )


def test_masks_that_do_not_fit_are_one_sentence():
    with pytest.raises(IsthmusError, match="no position"):
        fitted(X, mask=np.zeros((8, 5), bool))
    with pytest.raises(IsthmusError, match="mask"):
        fitted(X, mask=np.ones((8, 4), bool))
    with pytest.raises(IsthmusError, match="as rows"):
        fitted(X, mask=SEEN, given={"label": np.arange(40)})


def test_masked_positions_are_resumed(tmp_path):
    fitted(X, mask=SEEN, out=tmp_path / "run")
    longer = isthmus.resume(tmp_path / "run", X, mask=SEEN, steps=6, progress=False)
    assert longer.history[-1]["step"] == 6


@pytest.mark.parametrize("mixed", [False, True])
def test_rows_of_a_table_that_are_far_out_are_left_out(mixed, tmp_path):
    frame = pd.DataFrame(RNG.normal(size=(60, 3)), columns=list("abc"))
    frame.loc[[7, 31], "a"] = 1e6
    if mixed:
        frame["word"] = ["u", "v", "w"] * 20
    model = isthmus.fit("plain", frame, max_norm=20, latent_dim=2, steps=3, progress=False,
                        out=tmp_path / "run")  # fmt: skip
    assert model.config["data"]["max_norm"]["left_out"] == 2
    again = isthmus.resume(tmp_path / "run", frame, steps=5, progress=False)
    assert again.history[-1]["step"] == 5
    # By itself nothing is left out of a table.
    model = isthmus.fit("plain", frame, latent_dim=2, steps=3, progress=False)
    assert "max_norm" not in model.config["data"]


def test_who_reads_rows_of_different_lengths_is_named():
    rows = [RNG.normal(size=(n, 3)).astype(np.float32) for n in (4, 6, 5)]
    named = [n for n, one in isthmus.list_recipes().items() if "ragged" in one.kinds]
    with pytest.raises(IsthmusError) as problem:
        isthmus.fit("plain", rows, steps=2, progress=False)
    assert all(name in str(problem.value) for name in named)
    assert named or "kinds=('ragged',)" in str(problem.value)


def test_nothing_is_said_of_sizes_where_nothing_is_done():
    with notices.collected(quiet=True) as notes, pytest.raises(IsthmusError, match="not there"):
        isthmus.fit("vae", RNG.normal(size=(50, 6)), device="mps", progress=False)
    assert not notes


@pytest.mark.parametrize("mixed", [False, True])
def test_a_frame_keeps_its_index(mixed):
    frame = pd.DataFrame(RNG.normal(size=(30, 3)), columns=list("abc"))
    if mixed:
        frame["word"] = ["u", "v", "w"] * 10
    frame.index = pd.Index([f"r{i}" for i in range(30)], name="row")
    model = isthmus.fit("plain", frame, latent_dim=2, steps=3, progress=False)
    assert model.reconstruct(frame[5:9]).index.tolist() == ["r5", "r6", "r7", "r8"]
    codes = pd.DataFrame(model.encode(frame), index=frame.index)
    if mixed:
        assert model.decode(codes[2:4]).index.tolist() == ["r2", "r3"]
    estimator = AutoencoderTransformer("plain", latent_dim=2, steps=3)
    estimator.set_output(transform="pandas")
    back = estimator.inverse_transform(estimator.fit_transform(frame))
    assert back.index.equals(frame.index)
    assert back.columns.tolist() == frame.columns.tolist()
    assert not hasattr(estimator.inverse_transform(np.zeros((3, 2))), "columns") or mixed
