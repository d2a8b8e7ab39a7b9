import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn

from isthmus import IsthmusError
from isthmus.anatomy import Bernoulli, Gaussian, Prior, Scaler, Signal, Source
from isthmus.evaluation import code_kinds as kinds_module
from isthmus.evaluation import error_per_element, evaluate, fvu, perplexity
from isthmus.evaluation import gaussian_codes as likelihoods

from .tiny import (
    FEATURES,
    Dense,
    Embedding,
    NoDenseCode,
    Posterior,
    Signs,
    SparseDecoder,
    Threshold,
    TopK,
    tiny,
)

X = np.random.default_rng(0).normal(1.0, [1, 2, 3, 1, 2], (150, FEATURES)).astype(np.float32)

KINDS = {
    "dense": lambda: tiny(Dense()),
    "gaussian": lambda: tiny(Posterior()),
    "sparse": lambda: tiny(TopK(2), latent=20, decoder=SparseDecoder(20, FEATURES)),
    "threshold": lambda: tiny(Threshold()),
    "discrete": lambda: tiny(Signs()),
    "embedding": lambda: tiny(Embedding(), decoder=None),
}
ALWAYS = {"latent_rank", "numerical_rank"}
REBUILDS = ALWAYS | {"fvu", "error_per_element"}
SPARSE = REBUILDS | {"l0", "dead_share", "dense_share", "shrinkage", "norm_ratio"}
BOUNDS = {"importance_bound", "elbo", "bits_per_dim", "kl", "active_units"}
EXPECTED = {
    "dense": REBUILDS,
    "gaussian": REBUILDS | BOUNDS,
    "sparse": SPARSE,
    "threshold": SPARSE,
    "discrete": REBUILDS | {"codebook_use", "perplexity"},
    "embedding": ALWAYS | {"latent_std"},
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_each_kind_of_code_gets_the_measures_that_suit_it(kind):
    got = evaluate(KINDS[kind](), X, samples=4)
    assert set(got) == EXPECTED[kind]
    assert all(name == result.name and result.n == len(X) for name, result in got.items())
    assert all(math.isfinite(result.value) for result in got.values())


def test_batch_size_changes_nothing(kind, monkeypatch):
    whole = evaluate(KINDS[kind](), X, samples=5)
    monkeypatch.setattr(likelihoods, "CHUNK_ELEMENTS", 12)  # forces one row, two samples at once
    parts = evaluate(KINDS[kind](), X, samples=5, batch_size=7)
    for name, result in whole.items():
        assert parts[name].value == pytest.approx(result.value, rel=1e-5), name
        if result.interval is not None:
            assert parts[name].interval == pytest.approx(result.interval, rel=1e-4), name
        if result.per is not None:
            np.testing.assert_allclose(parts[name].per, result.per, rtol=1e-4, atol=1e-5)


def test_row_order_changes_nothing_but_the_draws(kind):
    there, back = (evaluate(KINDS[kind](), rows, samples=64) for rows in (X, X[::-1]))
    drawn = {"importance_bound", "elbo", "bits_per_dim"}
    for name, result in there.items():
        tolerance = 2e-2 if name in drawn else 1e-5
        assert back[name].value == pytest.approx(result.value, rel=tolerance), name


def test_same_seed_same_numbers_and_the_global_state_is_untouched():
    model = tiny(Posterior())
    state = torch.get_rng_state()
    first, again, other = (evaluate(model, X, samples=3, seed=s)["elbo"].value for s in (1, 1, 2))
    assert first == again != other
    assert torch.equal(state, torch.get_rng_state())


def test_reconstruction_is_measured_in_the_users_units():
    scaler = Scaler((FEATURES,), "columns")
    scaler.fit(torch.tensor(X))
    model = tiny(Dense(), scaler=scaler)
    got, recon = evaluate(model, X), model.reconstruct(X)
    assert got["fvu"].value == pytest.approx(fvu(X, recon).value, rel=1e-9)
    assert got["error_per_element"].value == pytest.approx(
        error_per_element(X, recon).value, rel=1e-9
    )


def test_another_target_is_measured_in_the_models_units():
    model = tiny(Dense(), target=lambda x: 2 * x)
    got = evaluate(model, X)
    assert got["fvu"].value == pytest.approx(fvu(2 * X, model.reconstruct(X)).value, rel=1e-6)
    assert "target" in got["error_per_element"].unit


class Exact(nn.Module):
    """The exact posterior mean of the linear-Gaussian model of a decoder."""

    def __init__(self, decoder, sigma):
        super().__init__()
        w = decoder.weight.detach().double()
        self.covariance = torch.linalg.inv(torch.eye(w.shape[1]) + w.T @ w / sigma**2)
        self.gain = (self.covariance @ w.T / sigma**2).float()
        self.bias = decoder.bias.detach()

    def forward(self, x):
        return (x - self.bias) @ self.gain.T


def exact_model(scaler=None, sigma=0.8):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        decoder = nn.Linear(1, FEATURES)
    encoder = Exact(decoder, sigma)
    logvar = float(encoder.covariance[0, 0].log())
    model = tiny(
        Posterior(logvar),
        latent=1,
        encoder=encoder,
        decoder=decoder,
        likelihood=Gaussian(sigma),
        scaler=scaler,
    )
    w, b = decoder.weight.detach().double().numpy(), decoder.bias.detach().double().numpy()
    return model, b, w @ w.T + sigma**2 * np.eye(FEATURES)


@pytest.mark.parametrize("samples", [1, 16])
def test_exact_posterior_gives_the_log_likelihood_of_the_data(samples):
    model, mean, covariance = exact_model()
    exact = multivariate_normal(mean, covariance).logpdf(X).mean()
    got = evaluate(model, X, samples=samples)
    assert got["importance_bound"].value == pytest.approx(exact, rel=1e-5)
    assert got["elbo"].value == pytest.approx(exact, rel=1e-5)
    assert got["bits_per_dim"].value == pytest.approx(-exact / FEATURES / math.log(2), rel=1e-5)


def test_bits_are_per_element_of_the_target():
    model = tiny(Posterior(), decoder=nn.Linear(3, 2), target=lambda x: x[:, :2])
    got = evaluate(model, X, samples=2)
    nats = got["importance_bound"].value
    assert got["bits_per_dim"].value == pytest.approx(-nats / (2 * math.log(2)))
    assert got["importance_bound"].note == "of the model's target, in the model's units"


@pytest.mark.parametrize("mode", ["columns", "global"])
def test_log_likelihood_is_a_density_in_the_users_units(mode):
    scaler = Scaler((FEATURES,), mode)
    scaler.fit(torch.tensor(X))
    model, mean, covariance = exact_model(scaler)
    scale = np.broadcast_to(scaler.scale.double().numpy(), FEATURES)
    offset = scaler.offset.double().numpy()
    exact = multivariate_normal(scale * mean + offset, covariance * np.outer(scale, scale))
    got = evaluate(model, X, samples=2)["importance_bound"]
    assert got.value == pytest.approx(exact.logpdf(X).mean(), rel=1e-5)


def test_a_prior_with_a_density_is_used():
    class Wide(Prior):
        def sample(self, n):
            return 2 * torch.randn(n, 1)

        def log_prob(self, z):
            return torch.distributions.Normal(0.0, 2.0).log_prob(z).sum(-1)

    model, mean, covariance = exact_model()
    model.prior = Wide()
    w = model.decoder.weight.detach().double().numpy()
    exact = multivariate_normal(mean, covariance + 3 * w @ w.T).logpdf(X).mean()
    got = evaluate(model, X, samples=2000)["importance_bound"]
    assert got.value == pytest.approx(exact, abs=0.01)
    assert "the model's own prior" in got.estimator


def bernoulli(x):
    model = tiny(Posterior(), likelihood=Bernoulli(), signal=Signal("vector", (FEATURES,)))
    return evaluate(model, x, samples=2)


def test_bernoulli_on_grey_data_is_no_log_likelihood():
    binary = (X > 1).astype(np.float32)
    got = bernoulli(binary)
    assert got["importance_bound"].note == ""
    assert got["bits_per_dim"].value > 0
    grey = binary * 0.9
    got = bernoulli(grey)
    assert "bits_per_dim" not in got
    assert "cross-entropy" in got["importance_bound"].note


def test_a_density_over_bytes_is_named_as_such():
    images = np.random.default_rng(0).integers(0, 256, (9, 2, 2)).astype(np.uint8)
    model = tiny(
        Posterior(),
        features=4,
        signal=Signal.infer(images),
        encoder=nn.Sequential(nn.Flatten(), nn.Linear(4, 3)),
        decoder=nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 2, 2))),
    )
    got = evaluate(model, images, samples=2)
    assert "bytes" in got["importance_bound"].note
    assert got["fvu"].per.shape == (1, 2, 2)


def test_discrete_measures_are_those_of_the_indices():
    model = tiny(Signs())
    indices = model.encode(X, code=True).indices
    assert evaluate(model, X)["perplexity"].value == pytest.approx(
        perplexity(indices, 2, per_position=True).value
    )


def test_a_sparse_code_is_never_made_dense():
    model = tiny(TopK(2, NoDenseCode), latent=20, decoder=SparseDecoder(20, FEATURES))
    got = evaluate(model, X)
    assert 0 < got["l0"].value <= 2


def test_rank_is_left_out_of_very_wide_codes(monkeypatch):
    monkeypatch.setattr(kinds_module, "WIDEST", 2)
    assert set(evaluate(tiny(Dense()), X)) == REBUILDS - ALWAYS


class GradientStep(nn.Module):
    """Finds the code by one gradient step, as a model without an encoder does."""

    def forward(self, x, *, model):
        with torch.enable_grad():
            z = torch.zeros(len(x), 3, requires_grad=True)
            loss = (model.decoder(z) - x).square().sum()
            (step,) = torch.autograd.grad(loss, z, create_graph=True)
            return z - 0.1 * step


def test_an_encoder_may_switch_gradients_on():
    model = tiny(Dense(), encoder=GradientStep())
    weight, bias = (p.detach().numpy() for p in model.decoder.parameters())
    recon = 0.2 * (X - bias) @ weight @ weight.T + bias
    assert evaluate(model, X)["fvu"].value == pytest.approx(fvu(X, recon).value, rel=1e-5)


def test_every_module_gets_its_own_mode_back():
    model = tiny(Dense(), encoder=nn.Sequential(nn.Dropout(0.5), nn.Linear(FEATURES, 3)))
    model.train()
    model.decoder.eval()
    first, second = (evaluate(model, X)["fvu"].value for _ in range(2))
    assert first == second
    assert model.training
    assert model.encoder[0].training
    assert not model.decoder.training


class Rows(Source):
    """A source that is not an array."""

    signal = Signal("vector", (FEATURES,))

    def __len__(self):
        return len(X)

    def rows(self, index):
        return torch.tensor(X)[index]


def test_a_source_is_read_like_its_array_and_progress_is_told():
    calls = []
    got = evaluate(tiny(Dense()), Rows(), batch_size=100, progress=lambda *a: calls.append(a))
    assert got["fvu"].value == evaluate(tiny(Dense()), X, batch_size=100)["fvu"].value
    assert calls == [(100, 150, "evaluate"), (150, 150, "evaluate")]


def test_misuse_is_one_sentence():
    model = tiny(Posterior())
    with pytest.raises(IsthmusError, match="empty"):
        evaluate(model, X[:0])
    with pytest.raises(IsthmusError, match="samples is 0"):
        evaluate(model, X, samples=0)
    with pytest.raises(IsthmusError, match="batch_size is -1"):
        evaluate(model, X, batch_size=-1)
    with pytest.raises(IsthmusError, match="does not fit"):
        evaluate(model, X[:, :2])
