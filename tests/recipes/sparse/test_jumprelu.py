"""JumpReLU and Step: the published pseudo-derivatives, and what they estimate."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import isthmus
from isthmus.anatomy import View
from isthmus.bottlenecks.jumprelu import HeavisideStep, JumpReLU, rectangle

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def case(seed, rows=6, width=5, spread=0.2):
    rng = np.random.default_rng(seed)
    theta = rng.uniform(0.1, 0.5, width)
    u = theta + spread * rng.normal(size=(rows, width))
    return u, theta, rng.normal(size=(rows, width))


def backward(function, u, theta, upstream, eps):
    u_t = torch.from_numpy(u).requires_grad_()
    log_theta = torch.from_numpy(np.log(theta)).requires_grad_()
    value = function.apply(u_t, log_theta, eps)
    (value * torch.from_numpy(upstream)).sum().backward()
    to_u = None if u_t.grad is None else u_t.grad.numpy()
    return value.detach().numpy(), to_u, log_theta.grad.numpy()


@given(st.integers(0, 1000), st.floats(0.01, 0.5))
def test_jumprelu_is_equation_11(seed, eps):
    u, theta, upstream = case(seed)
    value, to_u, to_log = backward(JumpReLU, u, theta, upstream, eps)
    on = u > theta
    near = np.abs((u - theta) / eps) < 0.5
    np.testing.assert_array_equal(value, np.where(on, u, 0.0))
    np.testing.assert_array_equal(to_u, upstream * on)
    to_theta = (upstream * -(theta / eps) * near).sum(0)
    np.testing.assert_allclose(to_log, to_theta * theta, rtol=1e-9, atol=1e-12)


@given(st.integers(0, 1000), st.floats(0.01, 0.5))
def test_step_is_equation_12(seed, eps):
    u, theta, upstream = case(seed)
    value, to_u, to_log = backward(HeavisideStep, u, theta, upstream, eps)
    near = np.abs((u - theta) / eps) < 0.5
    np.testing.assert_array_equal(value, (u > theta).astype(float))
    assert to_u is None or not to_u.any()
    to_theta = (upstream * -(1.0 / eps) * near).sum(0)
    np.testing.assert_allclose(to_log, to_theta * theta, rtol=1e-9, atol=1e-12)


def test_derivative_to_u_against_finite_differences_away_from_the_threshold():
    u, theta, upstream = case(0)
    u = np.where(np.abs(u - theta) < 1e-3, theta + 0.01, u)
    _, to_u, _ = backward(JumpReLU, u, theta, upstream, 0.1)
    h = 1e-6
    numeric = upstream * (jump(u + h, theta) - jump(u - h, theta)) / (2 * h)
    np.testing.assert_allclose(to_u, numeric, atol=1e-8)


def jump(u, theta):
    return np.where(u > theta, u, 0.0)


def test_rectangle_is_a_density():
    t = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    assert torch.trapezoid(rectangle(t), t).item() == pytest.approx(1.0, abs=2e-4)
    assert rectangle(torch.tensor([-0.5, -0.49, 0.0, 0.49, 0.5])).tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("theta", [0.3, 0.8])
@pytest.mark.parametrize("penalty", [0.0, 0.4])
def test_the_kernel_estimates_the_derivative_of_the_expected_loss(theta, penalty):
    """E (d z - x)^2 + penalty E H(u - theta): the estimate over many samples against a finite
    difference of the empirical expected loss, whose own derivative is zero almost everywhere.
    """
    n, eps, weight = 2_000_000, 0.05, 1.3
    rng = np.random.default_rng(0)
    u = rng.normal(0.4, 0.7, n)
    x = u + 0.3 * rng.normal(size=n) + 0.2

    def loss(at):
        return np.mean((weight * jump(u, at) - x) ** 2 + penalty * (u > at))

    h = 0.02
    numeric = (loss(theta + h) - loss(theta - h)) / (2 * h)

    log_theta = torch.tensor([np.log(theta)], requires_grad=True)
    column, target = torch.from_numpy(u)[:, None], torch.from_numpy(x)
    z = JumpReLU.apply(column, log_theta, eps)
    active = HeavisideStep.apply(column, log_theta, eps)
    per_row = (weight * z[:, 0] - target).square() + penalty * active[:, 0]
    per_row.mean().backward()
    estimate = log_theta.grad.item() / theta  # d log(theta) = d theta / theta
    # By hand, with p the density of u: raising theta drops rows at u = theta, which changes their
    # loss from that of z = theta to that of z = 0. The estimator weighs the loss's slope on both
    # sides of the jump, which for a squared error is the same.
    density = np.exp(-0.5 * ((theta - 0.4) / 0.7) ** 2) / (0.7 * np.sqrt(2 * np.pi))
    exact = -density * (weight**2 * theta**2 - 2 * weight * theta * (theta + 0.2) + penalty)
    assert numeric == pytest.approx(exact, abs=0.02)
    assert estimate == pytest.approx(numeric, abs=0.04)


def fitted(**options):
    options = {"latent_dim": 24, "bandwidth": 0.05, "threshold": 0.05, **options}
    return isthmus.fit("jumprelu", X, **options, steps=30, batch_size=50, lr=1e-2, progress=False)


def test_rows_of_the_decoder_have_norm_one_after_training():
    torch.testing.assert_close(
        fitted().decoder.weight.norm(dim=1), torch.ones(24), atol=1e-5, rtol=0
    )
    averaged = fitted(average=0.95).decoder.weight
    torch.testing.assert_close(averaged.norm(dim=1), torch.ones(24), atol=1e-5, rtol=0)


def test_without_unit_the_norms_of_the_decoder_are_free():
    norms = fitted(unit=False).decoder.weight.detach().norm(dim=1)
    assert float((norms - 1.0).abs().max()) > 0.01


def test_codes_are_zero_below_their_threshold_and_untouched_above():
    model = fitted()
    with torch.no_grad():
        u = model.encode_view(View(model.scaler(torch.from_numpy(X)))).dense().numpy()
    theta = model.bottleneck.log_threshold.detach().exp().numpy()
    assert theta.std() > 0  # thresholds were trained
    np.testing.assert_allclose(model.encode(X), np.where(u > theta, u, 0.0), atol=1e-6)


def test_the_penalty_trains_thresholds_alone():
    model = fitted()
    model.train()
    out = model(torch.from_numpy(X[:50]))
    l0 = next(part.term for part in model.objective if part.term.name == "l0")
    value = l0(model, out)
    np.testing.assert_array_equal(value.detach().numpy(), (out.code.z > 0).sum(1).numpy())
    value.sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"bottleneck.log_threshold"}


def test_a_dearer_latent_means_fewer_of_them():
    cheap = (fitted(sparsity=0.0).encode(X) > 0).sum(1).mean()
    dear = (fitted(sparsity=0.3).encode(X) > 0).sum(1).mean()
    assert dear < cheap


def test_inputs_are_scaled_to_a_mean_squared_norm_of_one():
    scaled = fitted().scaler(torch.from_numpy(X))
    assert scaled.square().sum(1).mean().item() == pytest.approx(1.0, rel=1e-4)
