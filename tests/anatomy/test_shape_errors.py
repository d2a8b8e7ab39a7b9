"""Parts of one's own that cannot read what they are given are named, with the shapes."""

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE

X = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
IMAGES = np.random.default_rng(0).random((32, 3, 8, 8)).astype(np.float32)


def own(X, encoder, decoder):
    return Autoencoder(
        Signal.infer(X), encoder=encoder, bottleneck=Identity(), decoder=decoder, objective=MSE()
    )


@pytest.mark.parametrize(
    ("rows", "encoder", "decoder", "words"),
    [
        (X, nn.Linear(4, 2), nn.Linear(2, 5), r"the encoder Linear .* float32 \(32, 5\)"),
        (X, nn.Linear(5, 2), nn.Linear(3, 5), r"the decoder Linear .* float32 \(32, 2\)"),
        (IMAGES, nn.Conv2d(1, 2, 3), nn.Linear(2, 5), r"the encoder Conv2d .*\(32, 3, 8, 8\)"),
        (X, nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(3)), nn.Linear(4, 5), "the encoder Seq"),
        (X, nn.LSTM(7, 2), nn.Linear(2, 5), "the encoder LSTM"),
    ],
)
def test_in_fit(rows, encoder, decoder, words):
    with pytest.raises(IsthmusError, match=words):
        isthmus.fit(own(rows, encoder, decoder), rows, steps=1, progress=False)


def test_in_encode_of_a_model_that_was_never_fitted():
    with pytest.raises(IsthmusError, match="the encoder Linear cannot read"):
        own(X, nn.Linear(4, 2), nn.Linear(2, 5)).encode(X)


def test_errors_of_another_kind_stay_what_they_are():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("out of paper")

    with pytest.raises(RuntimeError, match="out of paper"):
        own(X, Broken(), nn.Linear(2, 5)).encode(torch.from_numpy(X))
