"""The KL divergence against torch.distributions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal, kl_divergence

from isthmus.anatomy import Autoencoder, Code, GaussianCode, Output, Signal, View
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import KL, kl_to_standard_normal

MODEL = Autoencoder(
    Signal("vector", (2,)),
    encoder=nn.Identity(),
    bottleneck=Identity(),
    decoder=None,
    objective=KL(),
)


def output(code):
    x = torch.zeros(len(code.z), 2)
    return Output(x, x, [View(x)], [code])


@given(st.integers(1, 5), st.integers(1, 6), st.floats(0.1, 3.0), st.integers(0, 1000))
def test_against_torch(rows, latent, spread, seed):
    g = torch.Generator().manual_seed(seed)
    mean = spread * torch.randn(rows, latent, generator=g, dtype=torch.float64)
    logvar = spread * torch.randn(rows, latent, generator=g, dtype=torch.float64)
    posterior = Normal(mean, (0.5 * logvar).exp())
    expected = kl_divergence(posterior, Normal(torch.zeros_like(mean), torch.ones_like(mean)))
    code = GaussianCode(mean, mean, logvar)
    torch.testing.assert_close(kl_to_standard_normal(code), expected)
    torch.testing.assert_close(KL()(MODEL, output(code)), expected.sum(1))


def test_draws_do_not_change_it():
    mean = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    code = GaussianCode(mean, mean, -mean)
    assert torch.equal(KL()(MODEL, output(code.draw(5))), KL()(MODEL, output(code)))


def test_another_kind_of_code_is_one_sentence():
    with pytest.raises(
        IsthmusError, match="needs a GaussianCode as the code, and the model has a Code"
    ):
        KL()(MODEL, output(Code(torch.zeros(2, 2))))
