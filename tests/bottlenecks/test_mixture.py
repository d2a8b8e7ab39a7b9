"""The mixture of Gaussians as a prior: density and draws, where it is fitted, what it refuses."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture
from torch import nn

import isthmus
import zoo
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import GaussianBottleneck, GaussianMixturePrior, Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE

RNG = np.random.default_rng(0)
CLUSTERS = np.concatenate(
    [RNG.normal(size=(300, 2)) @ [[0.3, 0.2], [0.0, 0.4]] + at for at in ([3, 0], [-2, 1], [0, -3])]
)
Z = torch.from_numpy(CLUSTERS).float()
X = (CLUSTERS @ RNG.normal(size=(2, 6))).astype(np.float32)
QUICK = {"steps": 6, "batch_size": 30, "progress": False, "device": "cpu", "scaling": "none"}


def test_before_it_is_fitted_it_is_the_standard_normal():
    prior = GaussianMixturePrior(2, 4)
    wanted = multivariate_normal(np.zeros(2), np.eye(2)).logpdf(CLUSTERS)
    assert prior.log_prob(Z).numpy() == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_its_density_is_that_of_scipy(dtype):
    torch.manual_seed(0)
    prior = GaussianMixturePrior(2, 3)
    prior.fit(Z)
    z = Z[::7].to(dtype).reshape(-1, 3, 2)
    found = prior.log_prob(z)
    parts = [
        float(w) * multivariate_normal(m.double().numpy(), (f @ f.T).double().numpy()).pdf(
            z.double().numpy()
        )
        for w, m, f in zip(prior.weights, prior.means, prior.factors, strict=True)
    ]  # fmt: skip
    assert found.shape == z.shape[:-1]
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert found.numpy() == pytest.approx(np.log(sum(parts)), abs=1e-3)


def test_it_finds_the_clusters_and_draws_from_them():
    torch.manual_seed(0)
    prior = GaussianMixturePrior(2, 3)
    prior.fit(Z)
    assert prior.weights.numpy() == pytest.approx([1 / 3] * 3, abs=0.01)
    near = {(3, 0), (-2, 1), (0, -3)}
    assert {tuple(mean.round().int().tolist()) for mean in prior.means} == near
    drawn = prior.sample(60_000).double().numpy()
    assert drawn.mean(0) == pytest.approx(CLUSTERS.mean(0), abs=0.05)
    assert np.cov(drawn.T) == pytest.approx(np.cov(CLUSTERS.T), abs=0.1)
    peer = GaussianMixture(3, random_state=1).fit(CLUSTERS)
    assert prior.log_prob(Z).mean().item() == pytest.approx(peer.score(CLUSTERS), abs=1e-3)


def model(prior, encoder=None, bottleneck=None, objective=None):
    torch.manual_seed(1)
    return Autoencoder(
        Signal("vector", (6,)), encoder=encoder or nn.Linear(6, 2),
        bottleneck=bottleneck or Identity(), decoder=nn.Linear(2, 6), objective=objective or MSE(),
        prior=prior,
    )  # fmt: skip


def test_it_is_fitted_to_the_codes_of_the_final_weights():
    """Any autoencoder becomes a generative model (RAE without the R)."""
    fitted = isthmus.fit(
        model(GaussianMixturePrior(2, 1), objective=MSE()), X, average=0.5, **QUICK
    )
    codes = np.float64(fitted.encode(X))
    prior = fitted.prior
    assert prior.means[0].numpy() == pytest.approx(codes.mean(0), abs=1e-4)
    covariance = (prior.factors[0] @ prior.factors[0].T).numpy()
    assert covariance == pytest.approx(np.cov(codes.T, bias=True), rel=1e-3, abs=1e-4)
    assert fitted.sample(5).shape == (5, 6)


class Wide(nn.Module):
    """Means from x, and variances of 4."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x):
        mean = self.linear(x)
        return torch.cat([mean, torch.full_like(mean, np.log(4.0))], 1)


@pytest.mark.parametrize(("draw", "more"), [(True, 4.0), (False, 0.0)])
def test_of_a_posterior_it_is_fitted_to_draws_or_means(draw, more):
    prior = GaussianMixturePrior(2, 1, draw=draw)
    fitted = isthmus.fit(model(prior, Wide(), GaussianBottleneck()), X, **QUICK)
    covariance = (prior.factors[0] @ prior.factors[0].T).numpy()
    of_means = np.cov(np.float64(fitted.encode(X)).T, bias=True)
    assert np.diag(covariance - of_means) == pytest.approx([more] * 2, abs=1.3 if draw else 1e-3)


def test_rows_bound_how_many_codes_are_read():
    few, all_ = (GaussianMixturePrior(2, 1, rows=n) for n in (90, 900))
    whole = isthmus.fit(model(all_), X, **QUICK)
    some = isthmus.fit(model(few), X, **QUICK)
    codes = np.float64(some.encode(X))[np.linspace(0, 899, 90).round().astype(int)]
    assert few.means[0].numpy() == pytest.approx(codes.mean(0), abs=1e-4)
    assert not torch.equal(few.means, all_.means)
    assert torch.equal(some.encoder.weight, whole.encoder.weight)


def test_the_seed_of_the_run_decides_and_it_is_saved_with_the_model(tmp_path):
    def fit(seed, **more):
        return isthmus.fit(model(GaussianMixturePrior(2, 5)), X, seed=seed, **QUICK, **more)

    first = fit(3, out=tmp_path / "run")
    assert zoo.sha(first) == zoo.sha(fit(3))
    loaded = isthmus.load(tmp_path / "run", model(GaussianMixturePrior(2, 5)))
    assert zoo.sha(loaded) == zoo.sha(first)
    assert np.array_equal(loaded.sample(4, seed=1), first.sample(4, seed=1))
    assert not torch.equal(fit(4).prior.means, first.prior.means)


@pytest.mark.parametrize(
    ("z", "said"),
    [
        (torch.zeros(50, 3), "a mixture over 2 latents cannot be fitted to codes of shape"),
        (torch.zeros(50, 2, 2), r"make it GaussianMixturePrior\(4\)"),
        (torch.zeros(2, 2), "a mixture of 3 components cannot be fitted to 2 codes: use fewer"),
        (torch.full((50, 2), torch.nan), "the codes hold NaN or infinity"),
    ],
)
def test_codes_that_cannot_be(z, said):
    with pytest.raises(IsthmusError, match=said):
        GaussianMixturePrior(2, 3).fit(z)


def test_codes_that_are_all_the_same_are_a_mixture_all_the_same():
    prior = GaussianMixturePrior(2, 3)
    prior.fit(torch.ones(50, 2))
    assert torch.isfinite(prior.log_prob(torch.ones(1, 2))).all()
    assert (prior.sample(100) - 1.0).abs().max() < 0.01
