"""Bounds of several modalities against the peer's numbers, quadrature and finite differences."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Batch, Each, Gaussian, Signal
from isthmus.bottlenecks import StandardNormal, experts
from isthmus.bottlenecks.experts import (
    LaplacePrior,
    MixtureOfExperts,
    MixtureOfProducts,
    ProductOfExperts,
)
from isthmus.objectives import KL
from isthmus.objectives.multimodal import (
    MixtureBound,
    MixtureKL,
    ModalityLikelihood,
    SubsetKL,
    SubsetLikelihood,
)
from isthmus.recipes.variational.multimodal import ObservedOnly
from recipes.variational import multivae_numbers as peer

PEER = json.loads((Path(peer.__file__).parent / "multivae.json").read_text())
DATA, MASKS, ENCODERS, DECODERS = peer.made()


def linear(weight, dtype=torch.float32):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=dtype)
    layer.weight.data = torch.tensor(weight, dtype=dtype)
    return layer


def model_of(bottleneck, objective, prior=None, dtype=torch.float32):
    """Linear experts and decoders with the peer's weights, and unit normal likelihoods."""
    return Autoencoder(
        Signal.infer(DATA),
        encoder=Each({n: ObservedOnly(linear(w, dtype)) for n, w in ENCODERS.items()}),
        bottleneck=bottleneck,
        decoder=Each({n: linear(w, dtype) for n, w in DECODERS.items()}),
        objective=objective,
        likelihood=Each({n: Gaussian() for n in DATA}),
        prior=prior or StandardNormal(peer.LATENT),
    )


def batch(kind, dtype=torch.float32):
    """The peer's rows; what is missing is NaN here."""
    x = {n: torch.tensor(part, dtype=dtype) for n, part in DATA.items()}
    if kind == "whole":
        return Batch(x)
    seen = {n: torch.tensor(mask) for n, mask in MASKS.items()}
    x = {n: torch.where(seen[n][:, None], part, torch.nan) for n, part in x.items()}
    return Batch(x, mask=seen)


@pytest.fixture
def fixed_noise(monkeypatch):
    """The draws that the peer was given in the place of random ones."""

    def of_mixture(like, family):
        return torch.tensor(peer.DRAWS).to(like)[: len(like), None, None, None].expand_as(like)

    def largest(weights, samples, replacement):
        last = weights.shape[1] - 1 - weights.flip(1).argmax(1)  # the largest component there is
        return last[:, None].expand(-1, samples)

    monkeypatch.setattr(torch, "randn_like", lambda t: torch.full_like(t, peer.EPSILON))
    return lambda kind: (
        monkeypatch.setattr(experts, "noise", of_mixture)
        if kind == "mmvae"
        else monkeypatch.setattr(experts.torch, "multinomial", largest)
    )


def objective_of(kind, title, weights):
    if kind == "mvae":
        return ProductOfExperts(subsets=3), (
            ModalityLikelihood(weights) + KL() + SubsetLikelihood(weights) + SubsetKL()
        ), None  # fmt: skip
    if kind == "mopoe":
        return MixtureOfProducts(3), ModalityLikelihood(weights) + 2.5 * MixtureKL(), None
    estimator, draws, family = title.split()[-3:]
    laplace = family == "laplac"
    return (
        MixtureOfExperts(int(draws), "laplace" if laplace else "normal"),
        MixtureBound(estimator, weights),
        LaplacePrior(peer.LATENT, learnt=True) if laplace else None,
    )


@pytest.mark.parametrize("title", list(PEER))
def test_loss_and_gradients_are_the_peers(title, fixed_noise):
    kind, rows = title.split()[:2]
    fixed_noise(kind)
    weights = peer.RESCALED if "rescaled" in title else None
    model = model_of(*objective_of(kind, title, weights))
    total = model.objective(model, model(batch(rows))).total
    total.backward()
    wanted = PEER[title]
    if "dreg" not in title:  # the peer's value there is that of a surrogate
        assert total.item() == pytest.approx(wanted["loss"], rel=1e-5)
    for name in DATA:
        layers = {"encoders": model.encoder[name].network, "decoders": model.decoder[name]}
        for part, ours in layers.items():
            theirs = torch.tensor(wanted["gradients"][f"{part}.{name}.weight"])
            torch.testing.assert_close(ours.weight.grad, theirs, rtol=1e-4, atol=1e-5)
    if isinstance(model.prior, LaplacePrior):
        theirs = torch.tensor(wanted["gradients"]["prior_log_var"])[0]
        torch.testing.assert_close(model.prior.logits.grad, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["mvae", "mopoe", "mmvae iwae 3 normal", "mmvae elbo 3 laplac"])
def test_gradients_are_those_of_finite_differences(kind):
    bottleneck, objective, _ = objective_of(kind.split()[0], kind, peer.RESCALED)
    model = model_of(bottleneck, objective, dtype=torch.float64)

    def loss():
        torch.manual_seed(3)
        return model.objective(model, model(batch("missing", torch.float64))).total

    loss().backward()
    for parameter in model.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for place in range(len(flat)):
            kept = flat[place].item()
            ends = []
            for shift in (1e-5, -1e-5):
                flat[place] = kept + shift
                ends.append(loss().item())
            flat[place] = kept
            slope = (ends[0] - ends[1]) / 2e-5
            assert gradient[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-6)


# --- one latent, where everything can be integrated ----------------------------------------------

GRID = np.linspace(-12.0, 12.0, 20_001)
STEP = GRID[1] - GRID[0]
VALUES = {"a": 0.8, "b": -1.1}
SLOPES = {"a": 1.3, "b": 0.6}
EXPERTS = {"a": (0.4, -0.5), "b": (-0.9, 0.2)}  # mean and log-variance, for a data value of 1


def normal(z, mean, deviation):
    return -0.5 * ((z - mean) / deviation) ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)


def tiny(samples, estimator, rows):
    signal = Signal.infer({n: np.zeros((1, 1), np.float32) for n in VALUES})
    model = Autoencoder(
        signal,
        encoder=Each({n: linear(np.array(e)[:, None]) for n, e in EXPERTS.items()}),
        bottleneck=MixtureOfExperts(samples),
        decoder=Each({n: linear(np.array([[s]])) for n, s in SLOPES.items()}),
        objective=MixtureBound(estimator),
        likelihood=Each({n: Gaussian() for n in VALUES}),
        prior=StandardNormal(1),
    )
    return model, Batch({n: torch.full((rows, 1), v) for n, v in VALUES.items()})


def densities(names):
    """log p(x, z) of what is observed and log q_m(z) of each expert, on the grid, in numpy."""
    joint = normal(GRID, 0.0, 1.0)
    for name in names:
        joint = joint + normal(VALUES[name], SLOPES[name] * GRID, 1.0)
    each = {
        n: normal(GRID, EXPERTS[n][0] * VALUES[n], np.exp(0.5 * EXPERTS[n][1] * VALUES[n]))
        for n in names
    }
    return joint, each


@pytest.mark.parametrize("names", [("a", "b"), ("b",)])
def test_the_stratified_elbo_is_that_of_quadrature(names):
    joint, each = densities(names)
    mixture = np.logaddexp.reduce(list(each.values())) - np.log(len(each))
    wanted = np.mean([(np.exp(q) * (joint - mixture)).sum() * STEP for q in each.values()])
    model, rows = tiny(4, "elbo", 50_000)
    rows.mask = {n: torch.full((len(rows),), n in names) for n in VALUES}
    torch.manual_seed(0)
    with torch.no_grad():
        bounds = -model.objective.terms[0](model, model(rows))
    error = bounds.std().item() / len(bounds) ** 0.5
    assert bounds.mean().item() == pytest.approx(wanted, abs=5 * error)
    assert error < 0.005


def test_the_importance_weighted_bound_tends_to_what_its_experts_allow():
    joint, each = densities(VALUES)
    mixture = np.logaddexp.reduce(list(each.values())) - np.log(2)
    # Draws of one expert weighed by the whole mixture see a part of the evidence each.
    parts = [np.log((np.exp(q + joint - mixture)).sum() * STEP) for q in each.values()]
    evidence = np.log(np.exp(joint).sum() * STEP)
    assert evidence == pytest.approx(np.log(np.mean(np.exp(parts))), abs=1e-6)
    found = []
    for draws in (1, 10, 4000):
        model, rows = tiny(draws, "iwae", 200)
        torch.manual_seed(0)
        with torch.no_grad():
            found.append(-model.objective.terms[0](model, model(rows)).mean().item())
    assert found[0] < found[1] < found[2] + 0.01
    assert found[2] == pytest.approx(np.mean(parts), abs=0.005)
    assert found[2] < evidence - 0.01


def test_with_one_draw_dreg_has_the_gradient_of_the_elbo():
    gradients = {}
    for estimator in ("dreg", "elbo"):
        model, rows = tiny(1, estimator, 400_000)
        torch.manual_seed(1)
        model.objective(model, model(rows)).total.backward()
        gradients[estimator] = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(gradients["dreg"], gradients["elbo"], rtol=0.02, atol=0.02)
    assert gradients["elbo"].abs().min() > 0.04


def test_a_row_without_anything_counts_nothing():
    seen = {n: torch.tensor(m) & (torch.arange(peer.ROWS) != 2) for n, m in MASKS.items()}
    x = {n: torch.where(seen[n][:, None], torch.tensor(p), torch.nan) for n, p in DATA.items()}
    for title in ("mvae", "mopoe", "mmvae dreg 3 laplac"):
        model = model_of(*objective_of(title.split()[0], title, None))
        out = model(Batch(x, mask=seen))
        for term in model.objective.terms:
            assert term(model, out)[2].item() == 0.0
            assert torch.isfinite(term(model, out)).all()
        model.objective(model, out).total.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
