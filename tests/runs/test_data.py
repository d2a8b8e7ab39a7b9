"""Data that are read as those of a run were."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.runs import kind_of, opened


@pytest.mark.parametrize("member", ["b", "a,b"])
def test_an_archive_is_read_by_the_member_that_a_run_was_fitted_to(tmp_path, member):
    rng = np.random.default_rng(0)
    old, new = ({member: rng.normal(size=(20, 4)), "y": rng.normal(size=5)} for _ in "on")
    np.savez(tmp_path / "old.npz", **old)
    np.savez(tmp_path / "new.npz", **new)
    model = isthmus.fit(
        "plain", f"{tmp_path / 'old.npz'}:{member}", latent_dim=2, steps=2, progress=False
    )
    for name in (tmp_path / "new.npz", str(tmp_path / "new.npz")):
        source, _ = opened(name, None, None, model.config, kind=kind_of(model))
        np.testing.assert_array_equal(
            source.rows(torch.tensor([0, 19])), new[member][[0, 19]].astype("float32")
        )
    np.testing.assert_allclose(
        isthmus.encode(model, tmp_path / "new.npz"), model.encode(new[member]), rtol=1e-5
    )


def test_a_collection_of_members_is_found_again(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("old", "new"):
        parts = {"in": rng.normal(size=(20, 4)), "out": rng.normal(size=(20, 3)), "y": np.ones(20)}
        np.savez(tmp_path / f"{name}.npz", **parts)
    options = {"latent_dim": 8, "k": 2, "steps": 2, "progress": False}
    model = isthmus.fit("transcoder", f"{tmp_path / 'old.npz'}:in,out", **options)
    assert isthmus.encode(model, str(tmp_path / "new.npz")).shape == (20, 8)


def test_an_archive_without_the_member_is_refused_or_its_reading_is_said(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "old.npz", b=rng.normal(size=(20, 4)), y=np.ones(5))
    np.savez(tmp_path / "one.npz", X=rng.normal(size=(20, 4)))
    np.savez(tmp_path / "none.npz", c=np.ones((20, 3)), d=np.ones((20, 4)))
    model = isthmus.fit("plain", f"{tmp_path / 'old.npz'}:b", latent_dim=2, steps=2, progress=False)
    with notices.collected(quiet=True) as said:
        assert isthmus.encode(model, tmp_path / "one.npz").shape == (20, 2)
    assert any("lacks the member 'b' of the fit, and 'X' is read" in note for note in said)
    with pytest.raises(IsthmusError):
        isthmus.encode(model, tmp_path / "none.npz")
