"""Bounds from several draws: values, weights, and gradients against separate computations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch import Tensor, nn
from torch.distributions import Normal

from isthmus.anatomy import Autoencoder, Batch, Gaussian, GaussianCode, Output, Signal, View
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.objectives.importance import (
    Average,
    Combination,
    Importance,
    ImportanceWeightedBound,
    RoutedBound,
)

LATENT, DATA, ROWS, NOISE = 2, 3, 4, 0.7
BOUNDS = [Importance(), Importance(3), Average(), Combination(0.3)]


def toy(draws: int, term=None, seed: int = 0) -> Autoencoder:
    """Nonlinear both ways, in double."""
    torch.manual_seed(seed)
    return Autoencoder(
        Signal("vector", (DATA,)),
        encoder=nn.Sequential(nn.Linear(DATA, 5), nn.Tanh(), nn.Linear(5, 2 * LATENT)),
        bottleneck=GaussianBottleneck(draws),
        decoder=nn.Sequential(nn.Linear(LATENT, 5), nn.Tanh(), nn.Linear(5, DATA)),
        objective=term or ImportanceWeightedBound(),
        likelihood=Gaussian(NOISE),
        prior=StandardNormal(LATENT),
    ).double()


def rows() -> Tensor:
    return torch.randn(ROWS, DATA, generator=torch.Generator().manual_seed(5)).double()


def explicit(model: Autoencoder, x: Tensor, *, score: bool = True):
    """Log-weights by torch.distributions, from the draws that the model makes after seed 3."""
    torch.manual_seed(3)
    mean, logvar = model.encoder(x).chunk(2, 1)
    draws = model.bottleneck.samples
    noise = torch.randn(draws, *mean.shape).to(mean)
    z = mean + noise * (0.5 * logvar).exp()
    q = Normal(mean, (0.5 * logvar).exp())
    if not score:
        q = Normal(mean.detach(), (0.5 * logvar).exp().detach())
    likelihood = Normal(model.decoder(z), NOISE).log_prob(x).sum(-1)
    logs = likelihood + Normal(0.0, 1.0).log_prob(z).sum(-1) - q.log_prob(z).sum(-1)
    return logs, z


def gradients(model: Autoencoder, x: Tensor, term) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The value and the gradients by the decoder and by the encoder."""
    torch.manual_seed(3)
    model.zero_grad()
    value = term(model, model(x))
    value.sum().backward()
    of = lambda part: [p.grad.clone() for p in part.parameters()]  # noqa: E731
    return value.detach(), of(model.decoder), of(model.encoder)


def close(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@given(st.integers(1, 4), st.integers(1, 4), st.floats(0.1, 20.0), st.integers(0, 99))
def test_value_of_grouped_bounds(groups, size, spread, seed):
    logs = spread * np.random.default_rng(seed).normal(size=(groups * size, 3))
    by_hand = [
        logsumexp(logs[m * size : (m + 1) * size], axis=0) - np.log(size) for m in range(groups)
    ]
    found = Importance(groups).value(torch.from_numpy(logs))
    np.testing.assert_allclose(found, np.mean(by_hand, 0), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: type(bound).__name__)
def test_shares_are_first_derivatives_and_doubly_takes_off_the_second(bound):
    logs = torch.randn(6, 1, generator=torch.Generator().manual_seed(0)).double()
    value = lambda l: bound.value(l[:, None]).sum()  # noqa: E731, E741
    first = torch.autograd.functional.jacobian(value, logs[:, 0])
    second = torch.autograd.functional.hessian(value, logs[:, 0]).diagonal()
    torch.testing.assert_close(bound.shares(logs)[:, 0], first)
    torch.testing.assert_close(bound.doubly(logs)[:, 0], first - second)
    assert bound.shares(logs).sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: type(bound).__name__)
def test_a_routed_bound_has_the_value_and_gradient_of_the_bound(bound):
    x, model = rows(), toy(6)
    value, decoder, encoder = gradients(model, x, RoutedBound(bound))
    logs, _ = explicit(model, x)
    torch.testing.assert_close(value, -bound.value(logs).detach())
    loss = -bound.value(logs).sum()
    wanted = torch.autograd.grad(loss, [*model.decoder.parameters(), *model.encoder.parameters()])
    close([*decoder, *encoder], wanted)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_decoder_and_encoder_each_follow_their_own_bound(groups):
    x, model = rows(), toy(6)
    value, decoder, encoder = gradients(model, x, RoutedBound(Importance(), Importance(groups)))
    logs, _ = explicit(model, x)
    torch.testing.assert_close(value, -Importance().value(logs).detach())
    tight, loose = -Importance().value(logs).sum(), -Importance(groups).value(logs).sum()
    close(decoder, torch.autograd.grad(tight, list(model.decoder.parameters()), retain_graph=True))
    close(encoder, torch.autograd.grad(loose, list(model.encoder.parameters())))


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: type(bound).__name__)
def test_doubly_reparameterised_gradient_by_hand(bound):
    x, model = rows(), toy(6)
    _, decoder, encoder = gradients(model, x, RoutedBound(Importance(), bound, doubly=True))
    logs, z = explicit(model, x, score=False)
    (path,) = torch.autograd.grad(logs.sum(), z, retain_graph=True)
    along = -(bound.doubly(logs.detach())[..., None] * path * z).sum()
    close(encoder, torch.autograd.grad(along, list(model.encoder.parameters()), retain_graph=True))
    loss = -Importance().value(logs).sum()
    close(decoder, torch.autograd.grad(loss, list(model.decoder.parameters())))


def test_doubly_has_the_same_expectation_and_less_noise():
    x, model = rows()[:1], toy(4)
    many = x.repeat(20_000, 1)

    def estimates(term):
        torch.manual_seed(0)
        h = model.encoder(many).detach().requires_grad_()
        code = model.bottleneck(h, sample=True)
        out = Output(many, many, [View(many)], [code], model.decode_code(code))
        return torch.autograd.grad(term(model, out).sum(), h)[0]

    plain = estimates(ImportanceWeightedBound())
    doubly = estimates(RoutedBound(Importance(), doubly=True))
    error = ((plain.var(0) + doubly.var(0)) / len(many)).sqrt()
    assert ((plain.mean(0) - doubly.mean(0)).abs() < 4.5 * error).all()
    assert (doubly.var(0) < 0.8 * plain.var(0)).all()


def test_doubly_gradient_vanishes_at_the_exact_posterior():
    """There every log-weight is log p(x), whatever z: only the score would be noise."""
    loading = torch.tensor([[1.0, 0.5], [1.0, -0.5], [0.0, 0.7]]).double()
    precision = 1.0 + loading.square().sum(0) / NOISE**2
    model = toy(5)
    model.decoder = nn.Linear(LATENT, DATA, bias=False).double()
    with torch.no_grad():
        model.decoder.weight.copy_(loading)
    x = rows()
    mean = x @ (loading / NOISE**2 / precision)
    h = torch.cat([mean, -precision.log().expand_as(mean)], 1).requires_grad_()
    code = model.bottleneck(h, sample=True)
    out = Output(x, x, [View(x)], [code])
    for bound in BOUNDS[:1] + BOUNDS[2:]:
        term = RoutedBound(bound, doubly=True)
        found = torch.autograd.grad(term(model, out).sum(), h, retain_graph=True)[0]
        torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-10)
    out.params = model.decode_code(code)
    score = torch.autograd.grad(ImportanceWeightedBound()(model, out).sum(), h)[0]
    assert score.abs().max() > 0.1


def test_groups_without_weight_still_train_the_encoder():
    """A group whose share of the total weight underflows counts in full in its own bound."""
    x = torch.zeros(1, 1)
    model = Autoencoder(
        Signal("vector", (1,)),
        encoder=nn.Identity(),
        bottleneck=GaussianBottleneck(4),
        decoder=nn.Linear(1, 1, bias=False),
        objective=ImportanceWeightedBound(),
        likelihood=Gaussian(1.0),
    )
    with torch.no_grad():
        model.decoder.weight.fill_(1.0)
    mean = torch.zeros(1, 1, requires_grad=True)
    # Draws of the second group lie where the likelihood is exp(-600) of the first's.
    offset = torch.tensor([0.1, -0.2, 35.0, 35.1])[:, None, None]
    code = GaussianCode(mean + offset, mean, torch.full((1, 1), 7.0), 4)
    out = Output(x, x, [View(x)], [code])
    RoutedBound(Importance(), Importance(2))(model, out).sum().backward()

    logs = (
        -0.5 * (mean + offset).square() * 2
        + 0.5 * offset.square() / torch.tensor(7.0).exp()
    ).squeeze(-1)  # fmt: skip
    wanted = torch.autograd.grad(-Importance(2).value(logs.double()).sum(), mean)[0]
    torch.testing.assert_close(mean.grad, wanted, rtol=1e-4, atol=1e-4)
    assert model.decoder.weight.grad.abs() < 1.0


def test_a_learnt_weight_of_the_average_can_only_fall():
    bound = Combination(0.6, learnt=True).double()
    assert bound.logit.item() == pytest.approx(math.log(0.6 / 0.4))
    logit, model, x = bound.logit, toy(6), rows()
    term = RoutedBound(bound)
    assert list(map(id, term.parameters())) == [id(logit)]  # the term owns what it learns
    torch.manual_seed(3)
    term(model, model(x)).sum().backward()
    logs, _ = explicit(model, x)
    beta = logit.sigmoid()
    gap = (Importance().value(logs) - Average().value(logs)).sum()
    assert logit.grad.item() == pytest.approx((beta * (1 - beta) * gap).item(), rel=1e-9)
    assert logit.grad > 0


def test_without_gradients_there_is_a_value_and_one_draw_needs_no_axis():
    model, x = toy(1), rows()
    torch.manual_seed(3)
    with torch.no_grad():
        value = RoutedBound(Importance(), doubly=True)(model, model(x))
    torch.testing.assert_close(value, -Average().value(explicit(model, x)[0]).detach())
    model.bottleneck = GaussianBottleneck()
    torch.manual_seed(3)
    assert RoutedBound(Importance())(model, model(x)).shape == (ROWS,)


def test_bounds_score_what_was_observed():
    """Two columns hidden are as a model of the third alone, of the same draws."""
    model, x = toy(6), rows()
    seen = torch.tensor([[True, False, False]]).expand(ROWS, 3)
    for term in (ImportanceWeightedBound(), RoutedBound(Importance())):
        torch.manual_seed(3)
        found = term(model, model(Batch(x, mask=seen)))
        torch.manual_seed(3)
        out = model(x * seen)  # the encoder sees zero where nothing was observed
        out.params, out.target = out.params[..., :1], x[:, :1]
        logs = model.likelihood.log_prob(out.params, out.target)
        code = out.code
        noise = (code.z - code.mean) / (0.5 * code.logvar).exp()
        logs = logs - 0.5 * code.z.square().sum(-1)
        logs = logs + (0.5 * noise.square() + 0.5 * code.logvar).sum(-1)
        torch.testing.assert_close(found, -Importance().value(logs))
