"""The importance weighted bound against a model whose likelihood is known exactly."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Bernoulli,
    Clock,
    Gaussian,
    GaussianCode,
    Output,
    Signal,
    View,
)
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.corruptions import Binarise
from isthmus.errors import IsthmusError
from isthmus.objectives.importance import AveragedBound, ImportanceWeightedBound, log_weights
from isthmus.recipes.registry import get_recipe
from isthmus.recipes.variational.iwae import DataMean, iwae

LATENT, DATA, NOISE = 2, 3, 0.6
# Orthogonal columns make the exact posterior a diagonal Gaussian, which the encoder can hold.
LOADING = torch.tensor([[1.0, 0.5], [1.0, -0.5], [0.0, 0.7]], dtype=torch.float64)
OFFSET = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
IMAGE = Signal("image", (1, 8, 8), "float32", 0.0, 1.0)


class Posterior(nn.Module):
    """The exact posterior of the linear model, its mean shifted and its log-variance raised."""

    def __init__(self, shift: float, wider: float) -> None:
        super().__init__()
        precision = 1.0 + LOADING.square().sum(0) / NOISE**2
        self.gain = LOADING.T / NOISE**2 / precision[:, None]
        self.logvar = -precision.log() + wider
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        mean = (x - OFFSET) @ self.gain.T + self.shift
        return torch.cat([mean, self.logvar.expand_as(mean)], 1)


def linear_model(samples: int, shift: float = 0.0, wider: float = 0.0) -> Autoencoder:
    decoder = nn.Linear(LATENT, DATA).double()
    with torch.no_grad():
        decoder.weight.copy_(LOADING)
        decoder.bias.copy_(OFFSET)
    return Autoencoder(
        Signal("vector", (DATA,)),
        encoder=Posterior(shift, wider),
        bottleneck=GaussianBottleneck(samples),
        decoder=decoder,
        objective=ImportanceWeightedBound(),
        likelihood=Gaussian(NOISE),
        prior=StandardNormal(LATENT),
    )


def rows(n: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n, LATENT, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, DATA, generator=generator, dtype=torch.float64)
    return z @ LOADING.T + OFFSET + NOISE * noise


def log_evidence(x: Tensor) -> np.ndarray:
    covariance = LOADING @ LOADING.T + NOISE**2 * torch.eye(DATA, dtype=torch.float64)
    return multivariate_normal(OFFSET.numpy(), covariance.numpy()).logpdf(x.numpy())


def bound(model: Autoencoder, x: Tensor, term: type = ImportanceWeightedBound) -> np.ndarray:
    torch.manual_seed(1)
    with torch.no_grad():
        return -term()(model, model(x)).numpy()


@pytest.mark.parametrize("samples", [1, 7])
def test_bound_is_the_log_evidence_for_the_exact_posterior(samples: int) -> None:
    x = rows()
    np.testing.assert_allclose(bound(linear_model(samples), x), log_evidence(x), rtol=1e-10)


def test_bound_rises_with_samples_to_the_log_evidence() -> None:
    x = rows()
    exact = log_evidence(x).mean()
    gaps = [
        exact - bound(linear_model(k, shift=0.4, wider=0.8), x.repeat(2000 // k + 1, 1)).mean()
        for k in (1, 4, 16, 64, 2000)
    ]
    assert all(before > after + 0.01 for before, after in pairwise(gaps[:4]))
    assert abs(gaps[-1]) < 0.01


@pytest.mark.parametrize("term", [ImportanceWeightedBound, AveragedBound])
def test_one_sample_falls_short_by_the_divergence_from_the_posterior(term: type) -> None:
    x, shift, wider = rows(), 0.4, 0.8
    precision = 1.0 + LOADING.square().sum(0) / NOISE**2
    ratio = math.exp(wider)
    divergence = 0.5 * (ratio + shift**2 * precision - 1.0 - wider).sum().item()
    model = linear_model(1, shift, wider)
    estimate = bound(model, x.repeat(2000, 1), term).mean()
    assert estimate == pytest.approx(log_evidence(x).mean() - divergence, abs=0.02)


def test_averaged_bound_does_not_rise_with_samples() -> None:
    x = rows().repeat(300, 1)
    few = bound(linear_model(1, 0.4, 0.8), x, AveragedBound).mean()
    many = bound(linear_model(20, 0.4, 0.8), x, AveragedBound).mean()
    assert many == pytest.approx(few, abs=0.05)


def test_gradient_weighs_each_log_weight_by_its_share() -> None:
    x = rows(5)
    model = linear_model(6, 0.3, 0.5)
    assert isinstance(model.decoder, nn.Linear)
    torch.manual_seed(3)
    ImportanceWeightedBound()(model, model(x)).sum().backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]

    torch.manual_seed(3)
    out = model(x)
    code = out.code
    assert isinstance(code, GaussianCode)
    normal = torch.distributions.Normal
    mean = torch.einsum("dl,krl->krd", model.decoder.weight, code.z) + model.decoder.bias
    logs = (
        normal(mean, NOISE).log_prob(x).sum(-1)
        + normal(0.0, 1.0).log_prob(code.z).sum(-1)
        - normal(code.mean, code.logvar.exp().sqrt()).log_prob(code.z).sum(-1)
    )
    weights = logs.detach().exp()
    explicit = -(weights / weights.sum(0) * logs).sum()
    wanted = torch.autograd.grad(explicit, list(model.decoder.parameters()))
    assert len(found) == len(wanted) == 2
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_gradient_reaches_the_encoder_as_finite_differences_say() -> None:
    x = rows(3)
    noise = torch.randn(5, 3, LATENT, dtype=torch.float64)
    model = linear_model(5)

    def loss(h: Tensor) -> Tensor:
        mean, logvar = h.chunk(2, 1)
        code = GaussianCode(mean + noise * (0.5 * logvar).exp(), mean, logvar, 5)
        out = Output(x, x, [View(x)], [code], model.decode_code(code))
        return ImportanceWeightedBound()(model, out)

    h = torch.randn(3, 2 * LATENT, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (h,))


def test_repeating_the_batch_leaves_the_mean_unchanged() -> None:
    x = rows(4)
    model = linear_model(3, 0.2, 0.1)
    out = model(x)
    code = out.code
    assert isinstance(code, GaussianCode)
    twice = GaussianCode(
        torch.cat([code.z, code.z], 1), code.mean.repeat(2, 1), code.logvar.repeat(2, 1), 3
    )
    doubled = Output(x.repeat(2, 1), x.repeat(2, 1), out.views, [twice], model.decode_code(twice))
    for term in (ImportanceWeightedBound(), AveragedBound()):
        once, again = term(model, out), term(model, doubled)
        assert again.shape == (8,)
        torch.testing.assert_close(again.mean(), once.mean())


def test_a_prior_of_its_own_enters_the_weights() -> None:
    class Wide(StandardNormal):
        def log_prob(self, z: Tensor) -> Tensor:
            return torch.distributions.Normal(0.0, 2.0).log_prob(z).sum(-1)

    model = linear_model(3)
    torch.manual_seed(0)
    out = model(rows(4))
    before = log_weights(model, out)
    model.prior = Wide(LATENT)
    change = log_weights(model, out) - before
    wanted = (0.375 * out.code.z.square() - math.log(2.0)).sum(-1)
    torch.testing.assert_close(change, wanted)


def test_a_code_without_sample_axis_is_one_sample() -> None:
    model = linear_model(1)
    model.bottleneck = GaussianBottleneck()
    x = rows()
    np.testing.assert_allclose(bound(model, x), log_evidence(x), rtol=1e-10)


def test_binarised_draw_is_input_and_target() -> None:
    model = iwae(IMAGE, samples=2)
    x = torch.rand(6, 1, 8, 8)
    out = model(x, Clock())
    assert set(out.target.unique().tolist()) == {0.0, 1.0}
    assert out.target is out.views[0].x
    assert out.x is x


@pytest.mark.parametrize(
    ("signal", "options", "binary"),
    [
        (IMAGE, {}, True),
        (IMAGE, {"binarise": False}, False),
        (IMAGE, {"likelihood": "gaussian"}, False),
        (Signal("vector", (5,)), {}, False),
    ],
)
def test_binarisation_follows_the_likelihood(
    signal: Signal, options: dict[str, object], binary: bool
) -> None:
    model = iwae(signal, **options)
    assert isinstance(model.corruption, Binarise) == binary


def test_binarising_under_a_gaussian_likelihood_is_an_error() -> None:
    with pytest.raises(IsthmusError, match="likelihood=bernoulli"):
        iwae(Signal("vector", (5,)), binarise=True)


@pytest.mark.parametrize("signal", [IMAGE, Signal("vector", (64,))])
def test_untrained_output_starts_at_the_mean_of_the_data(signal: Signal) -> None:
    model = iwae(signal, latent_dim=3)
    assert isinstance(model.decoder, DataMean)
    assert isinstance(model.likelihood, Bernoulli if signal.is_unit else Gaussian)
    x = 0.1 + 0.8 * torch.rand(50, *signal.shape)
    with torch.no_grad():
        model.prepare(x)
        at_zero = model.likelihood.mean(model.decode_code(model.bottleneck(torch.zeros(1, 6))))
    torch.testing.assert_close(at_zero[0], x.mean(0))


def test_published_network_and_initialisation() -> None:
    model = iwae(Signal("image", (1, 28, 28), "uint8", 0.0, 1.0))
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [
        (784, 200), (200, 200), (200, 100), (50, 200), (200, 200), (200, 784),
    ]  # fmt: skip
    for layer in linear:
        limit = math.sqrt(6.0 / (layer.in_features + layer.out_features))
        assert 0.98 * limit < layer.weight.abs().max() <= limit
        assert not layer.bias.any()


def test_published_schedule_takes_3280_passes() -> None:
    _, training = get_recipe("iwae").parse({})
    assert training.epochs == sum(3**i for i in range(8))
    assert (training.batch_size, training.lr, training.lr_schedule) == (20, 1e-3, "burda")


def test_encode_is_the_posterior_mean_of_the_given_values() -> None:
    model = iwae(IMAGE, latent_dim=3)
    x = torch.rand(7, 1, 8, 8)
    with torch.no_grad():
        wanted = model.encoder(x)[:, :3]
    torch.testing.assert_close(model.encode(x), wanted)
    assert model.sample(4).shape == (4, 1, 8, 8)
