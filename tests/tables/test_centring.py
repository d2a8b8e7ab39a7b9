"""Whole numbers that float64 misses, in arrays: centred exactly, or refused in one sentence."""

import numpy as np
import pandas as pd
import pytest
import torch

import isthmus
from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables import Centring
from isthmus.tables.numbers import rounding

RANKS = np.random.default_rng(0).integers(0, 9, (60, 5))
SMALL = {"latent_dim": 5, "steps": 20, "progress": False}


@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_whole_numbers_that_doubles_miss_are_centred_exactly(kind):
    x = (RANKS + 2**60).astype(kind)
    centring = Centring.learn(lambda index: x[index], np.arange(len(x)))
    assert centring is not None
    features = centring.apply(x)
    np.testing.assert_array_equal(features - features[0], (RANKS - RANKS[0]).astype(np.float32))
    np.testing.assert_array_equal(centring.restored(features), x.astype(np.int64))
    back = centring.restored(torch.from_numpy(features))
    np.testing.assert_array_equal(back.numpy(), x.astype(np.int64))


def test_a_model_of_them_reconstructs_within_their_range():
    x = RANKS + 2**60
    with notices.collected(quiet=True):
        back = isthmus.fit("plain", x, **SMALL).reconstruct(x)
    assert back.dtype == np.int64
    assert len(np.unique(back)) > 1
    assert np.abs(back - x).max() < 100


def test_those_of_a_frame_are_centred_too():
    frame = pd.DataFrame(RANKS + 2**60, columns=[*"abcde"])
    with notices.collected(quiet=True):
        back = isthmus.fit("plain", frame, **SMALL).reconstruct(frame)
    assert np.abs(back - frame).to_numpy().max() < 100
    assert back["a"].nunique() > 1


def test_those_beyond_int64_are_one_sentence():
    x = RANKS.astype(np.uint64) + np.uint64(2**63)
    with pytest.raises(IsthmusError, match=r"too large to be told apart .* subtract an offset"):
        isthmus.fit("plain", x, **SMALL)


def test_rounding_of_whole_numbers_is_exact():
    values = np.array([2**60 + 3, -(2**60) - 3, 2**63 - 1, -(2**63), 2**24 + 1, 7])
    np.testing.assert_array_equal(rounding(values), [3, 3, 1023, 0, 1, 0])
