"""Reconstruction terms against NumPy and torch.distributions."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli as TorchBernoulli

from isthmus.anatomy import (
    Autoencoder,
    Bernoulli,
    Code,
    Gaussian,
    GaussianCode,
    Output,
    Signal,
    View,
)
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE, NegativeLogLikelihood, SquaredError

MODEL = Autoencoder(
    Signal("image", (2, 3, 4)),
    encoder=nn.Identity(),
    bottleneck=Identity(),
    decoder=nn.Identity(),
    objective=MSE(),
    likelihood=Bernoulli(),
)
G = torch.Generator().manual_seed(0)
X = torch.randn(5, 2, 3, 4, generator=G)
RECON = torch.randn(5, 2, 3, 4, generator=G)


def output(params, code=None, target=X):
    return Output(X, target, [View(X)], [code or Code(X)], params, Gaussian())


def test_squared_errors_are_per_example():
    expected = ((RECON - X).numpy() ** 2).reshape(5, -1)
    np.testing.assert_allclose(MSE()(MODEL, output(RECON)), expected.mean(1), rtol=1e-6)
    np.testing.assert_allclose(SquaredError()(MODEL, output(RECON)), expected.sum(1), rtol=1e-6)


def test_the_target_counts_not_the_input():
    assert MSE()(MODEL, output(RECON, target=RECON)).abs().max() == 0


def test_likelihood_is_averaged_over_the_draws():
    params, target = torch.randn(7, *X.shape, generator=G), (X > 0).float()
    z = torch.zeros(7, 5, 2)
    out = output(params, GaussianCode(z, z[0], z[0], samples=7), target)
    each = -TorchBernoulli(logits=params).log_prob(target.expand_as(params)).flatten(2).sum(2)
    torch.testing.assert_close(NegativeLogLikelihood()(MODEL, out), each.mean(0))
    single = output(params[0], None, target)
    torch.testing.assert_close(NegativeLogLikelihood()(MODEL, single), each[0])


@pytest.mark.parametrize("term", [MSE(), SquaredError(), NegativeLogLikelihood()])
def test_without_a_decoder_there_is_nothing_to_compare(term):
    with pytest.raises(IsthmusError, match="with a decoder"):
        term(MODEL, output(None))
