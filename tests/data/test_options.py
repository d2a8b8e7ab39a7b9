"""Rows of huge norm, and the options of the data."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus import notices
from isthmus.data import as_source
from isthmus.data.options import DataOptions, within_norm
from isthmus.errors import IsthmusError
from isthmus.runs import reopened

RNG = np.random.default_rng(0)


def filtered(X, factor="auto", auto=True):
    with notices.collected(quiet=True) as said:
        source, noted = within_norm(as_source(X), factor, auto=auto)
    return len(source), noted, said


def sinks(share=0.01, times=100.0, rows=1000):
    X = RNG.normal(size=(rows, 8)).astype(np.float32)
    X[:: int(1 / share)] *= times
    return X


def test_rows_that_hold_most_of_the_energy_are_left_out():
    rows, noted, said = filtered(sinks())
    assert rows == 990
    assert noted["left_out"] == 10
    assert noted["factor"] == 10.0
    assert "10 of 1,000 rows" in said[0]
    X = sinks() + 1000  # about the middle, not about zero
    assert filtered(X)[0] == 990


@pytest.mark.parametrize(
    "X",
    [
        RNG.normal(size=(1000, 8)), RNG.standard_t(4, size=(1000, 8)),
        np.exp(RNG.normal(size=(1000, 8))), sinks(0.2), sinks(0.01, 5.0),
        np.vstack([np.zeros((900, 8)), np.ones((100, 8))]), np.ones((50, 3)),
    ],
)  # fmt: skip
def test_other_rows_all_stay(X):
    assert filtered(X) == (len(X), None, [])


def test_the_factor_wins():
    X = sinks(0.01, 5.0)
    size = np.linalg.norm(X - np.median(X, 0), axis=1)
    assert filtered(X, 3.0)[0] == (size <= 3 * np.median(size)).sum() < 1000
    assert filtered(sinks(), None)[0] == filtered(sinks(), "auto", auto=False)[0] == 1000


@pytest.mark.parametrize("value", [0, 1, -3, True, "big", 0.5])
def test_a_bound_that_is_none_is_one_sentence(value):
    with pytest.raises(IsthmusError, match=r"max_norm=.* is no bound"):
        DataOptions.taken({"max_norm": value})


def test_a_name_of_the_recipes_own_wins():
    options = {"size": 3, "kind": "image", "k": 4}
    assert DataOptions.taken(options, {"size"}).reading.kind == "image"
    assert options == {"size": 3, "k": 4}


@pytest.mark.parametrize("extra", [{}, {"max_norm": 20.0}])
def test_what_was_left_out_is_left_out_again(tmp_path, extra):
    X = sinks()
    options = {"latent_dim": 16, "k": 3, "batch_size": 64, "seed": 1, "steps": 12, **extra}
    whole = isthmus.fit("topk", X, progress=False, out=tmp_path / "a", **options)

    assert whole.config["data"]["max_norm"]["left_out"] == 10
    assert whole.config["data"]["rows"] == 1000
    assert len(reopened(whole.config, tmp_path / "a", X, None)) == 990
    many = isthmus.fit_many(["topk"], X, progress=False, **options)
    assert torch.equal(next(iter(many.values())).decoder.weight, whole.decoder.weight)
    assert isthmus.evaluate(whole, X)["fvu"].n == 1000


def test_it_needs_vectors():
    with pytest.raises(IsthmusError, match="max_norm is for arrays of vectors"):
        isthmus.fit("plain", RNG.random((20, 1, 8, 8)), max_norm=3.0, steps=1, progress=False)
