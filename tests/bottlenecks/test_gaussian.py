"""The Gaussian bottleneck."""

import torch

from isthmus.bottlenecks import GaussianBottleneck, Identity, StandardNormal


def test_without_sampling_the_code_is_the_mean():
    h = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    code = GaussianBottleneck()(h)
    assert torch.equal(code.z, h[:, :3])
    assert torch.equal(code.mean, h[:, :3])
    assert torch.equal(code.logvar, h[:, 3:])
    assert code.samples is None


def test_the_log_variance_is_limited_so_that_draws_stay_finite():
    h = torch.tensor([[0.0, 0.0, 1e9, -1e9]])
    code = GaussianBottleneck()(h, sample=True)
    assert code.logvar.tolist() == [[20.0, -20.0]]
    assert bool(torch.isfinite(code.z).all())


def test_draws_have_the_posteriors_moments_and_gradients():
    h = torch.tensor([[1.0, -1.0, 0.0, -3.0]]).repeat(80_000, 1).requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        code = GaussianBottleneck()(h, sample=True)
    torch.testing.assert_close(code.z.mean(0), torch.tensor([1.0, -1.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(code.z.var(0), torch.tensor([0.0, -3.0]).exp(), atol=0.0, rtol=0.03)
    # z = m + e exp(v / 2): dz/dm = 1 and dz/dv = (z - m) / 2
    code.z.sum().backward()
    assert torch.equal(h.grad[:, :2], torch.ones(80_000, 2))
    torch.testing.assert_close(h.grad[:, 2:], 0.5 * (code.z - code.mean).detach())


def test_several_draws_lie_on_a_leading_axis():
    code = GaussianBottleneck(samples=5)(torch.zeros(3, 4), sample=True)
    assert code.z.shape == (5, 3, 2)
    assert code.samples == 5
    assert GaussianBottleneck(samples=5)(torch.zeros(3, 4)).samples is None


def test_the_prior_is_standard_normal():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        z = StandardNormal(2)(50_000)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(2), atol=0.03, rtol=0)


def test_identity_passes_the_encoders_output():
    h = torch.randn(2, 3)
    assert Identity()(h, sample=True).z is h
