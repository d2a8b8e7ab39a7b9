"""Mistakes in parts of one's own are answered with a sentence."""

import numpy as np
import pytest
from torch import nn

import isthmus
from isthmus.anatomy import Autoencoder, Each, Sampler, Signal, Term, added
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE

X = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
PAIR = {"image": X, "text": X[:, :3]}


class Bare(Term):
    def forward(self, model, out):
        return out.squared_error()


class Unitless(Bare):
    name = "unitless"


def fitted(rows=X, **parts):
    own = {
        "encoder": nn.Linear(5, 2), "bottleneck": Identity(), "decoder": nn.Linear(2, 5),
        "objective": MSE(),
    }  # fmt: skip
    model = Autoencoder(Signal.infer(rows), **{**own, **parts})
    return isthmus.fit(model, rows, steps=1, progress=False)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"bottleneck": nn.Identity()}, "the bottleneck Identity returned a Tensor"),
        ({"decoder": nn.Linear(2, 4)}, r"the decoder rebuilds \(32, 4\)"),
        ({"objective": Bare}, "the term Bare has no name"),
        ({"objective": Unitless}, "the term Unitless has no unit"),
        (
            {
                "rows": PAIR,
                "encoder": Each({"image": nn.Linear(5, 2), "text": nn.Linear(3, 2)}, merge=added),
                "decoder": Each({"image": nn.Linear(2, 5), "text": nn.Linear(2, 3)}),
            },
            "the parts 'image', 'text': pass likelihood=Each",
        ),
    ],
)
def test_a_part_that_does_not_fit(parts, words):
    with pytest.raises(IsthmusError, match=words):
        fitted(**{k: v() if isinstance(v, type) else v for k, v in parts.items()})


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"txt": [True] * 32}, "the mask names 'txt', and the parts are 'image', 'text'"),
        ({"text": [True] * 3}, "the mask of 'text' has 3 rows for 32"),
        ([True] * 32, "a mapping of their names"),
        (None, "or pass mask="),
    ],
)
def test_a_mask_that_does_not_fit_is_said_before_what_it_leaves_in_sight(mask, words):
    lacking = {**PAIR, "text": np.full_like(PAIR["text"], np.nan)}
    if mask is not None:
        mask = {n: np.array(m) for n, m in mask.items()} if isinstance(mask, dict) else mask
    with pytest.raises(IsthmusError, match=words):
        isthmus.fit("mvae", lacking, mask=mask, steps=1, progress=False)


def test_a_prior_that_is_none_is_one_sentence():
    with pytest.raises(IsthmusError, match="a int is no prior"):
        Sampler(3)
