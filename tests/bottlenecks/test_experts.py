"""Posteriors of several experts in closed form, and what a row has that lacks some of them."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from isthmus.bottlenecks.experts import (
    LaplacePrior,
    MixtureOfExperts,
    MixtureOfProducts,
    ProductOfExperts,
    present,
    random_subsets,
    subset_members,
)
from isthmus.errors import IsthmusError

RNG = np.random.default_rng(0)
ROWS, LATENT = 6, 3
H = {n: torch.tensor(RNG.normal(size=(ROWS, 2 * LATENT)), dtype=torch.float64) for n in "abc"}
MASK = {
    "a": torch.tensor([1, 1, 0, 0, 1, 0]).bool(),
    "b": None,
    # Of c some entries may be missing: a row with any has the modality.
    "c": torch.tensor([[1, 1], [0, 0], [0, 1], [0, 0], [1, 1], [1, 1]]).bool(),
}
THERE = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 1, 1], [0, 1, 1]], bool)
NOTHING = {n: torch.zeros(ROWS, dtype=torch.bool) for n in H}


def multiplied(row, members, prior=True):
    """Mean and variance of a product of Gaussians, one after another, in numpy."""
    precision, weighted = float(prior) * np.ones(LATENT), np.zeros(LATENT)
    for name, member in zip(H, members, strict=True):
        if member:
            mean, logvar = np.split(H[name][row].numpy(), 2)
            precision = precision + 1.0 / np.exp(logvar)
            weighted = weighted + mean / np.exp(logvar)
    return weighted / precision, 1.0 / precision


def test_present_reads_masks_of_rows_and_of_entries():
    np.testing.assert_array_equal(present(H, MASK).numpy(), THERE)
    assert present(H, None).all()


def test_a_product_is_that_of_the_densities():
    code = ProductOfExperts()(H, mask=MASK)
    for row in range(ROWS):
        mean, variance = multiplied(row, THERE[row])
        np.testing.assert_allclose(code.mean[row].numpy(), mean, rtol=1e-10)
        np.testing.assert_allclose(code.logvar[row].exp().numpy(), variance, rtol=1e-10)
    assert torch.equal(code.z, code.mean)
    # The same by Bayes: a linear Gaussian model whose experts are its likelihoods.
    slope, noise = RNG.normal(size=(5, LATENT)), 0.3
    x = RNG.normal(size=5)
    h = {}
    for i in range(5):  # one element each, along one latent each time
        axis = i % LATENT
        own = np.full(LATENT, 20.0)  # says nothing of the others
        mean = np.zeros(LATENT)
        mean[axis], own[axis] = x[i] / slope[i, axis], np.log(noise / slope[i, axis] ** 2)
        h[str(i)] = torch.tensor(np.r_[mean, own][None])
    single = np.zeros_like(slope)
    for i in range(5):
        single[i, i % LATENT] = slope[i, i % LATENT]
    exact = np.linalg.inv(np.eye(LATENT) + single.T @ single / noise)
    found = ProductOfExperts()(h)
    np.testing.assert_allclose(found.mean[0].numpy(), exact @ single.T @ x / noise, atol=1e-6)
    np.testing.assert_allclose(found.logvar[0].exp().numpy(), np.diag(exact), atol=1e-6)


@pytest.mark.parametrize("make", [ProductOfExperts, MixtureOfExperts, lambda: MixtureOfProducts(3)])
def test_a_row_has_the_code_of_what_it_has(make):
    bottleneck = make()
    code = bottleneck(H, mask=MASK)
    for row in range(ROWS):
        mask = {n: torch.tensor([t]) for n, t in zip(H, THERE[row].tolist(), strict=True)}
        # What the others say of that row is anything at all.
        other = {n: torch.where(mask[n], h[row : row + 1], 7.0) for n, h in H.items()}
        assert torch.equal(bottleneck(other, mask=mask).z[0], code.z[row])
    nothing = bottleneck(H, mask=NOTHING)
    assert nothing.z.abs().max() == 0.0
    if isinstance(bottleneck, ProductOfExperts):
        assert nothing.logvar.abs().max() == 0.0
    else:
        z = torch.tensor(RNG.normal(size=(4, ROWS, LATENT)))
        wanted = stats.norm.logpdf(z.numpy()).sum(-1)
        np.testing.assert_allclose(nothing.log_prob(z).numpy(), wanted, rtol=1e-6)


def test_the_density_of_a_mixture():
    z = RNG.normal(size=(5, ROWS, LATENT))
    for family in ("normal", "laplace"):
        code = MixtureOfExperts(family=family)(H, mask=MASK)
        found = code.log_prob(torch.tensor(z)).numpy()
        for row in range(ROWS):
            parts = []
            for name, there in zip(H, THERE[row], strict=True):
                mean, rest = np.split(H[name][row].numpy(), 2)
                if family == "normal":
                    one = stats.norm(mean, np.exp(rest / 2))
                else:
                    scale = np.exp(rest) / np.exp(rest).sum() * LATENT
                    one = stats.laplace(mean, scale)
                if there:
                    parts.append(np.exp(one.logpdf(z[:, row]).sum(-1)))
            np.testing.assert_allclose(found[:, row], np.log(np.mean(parts, 0)), rtol=1e-5)


def test_draws_of_a_mixture_come_from_what_is_there():
    code = MixtureOfExperts(family="laplace")(H, mask=MASK)
    torch.manual_seed(0)
    z = code.draw(100_000).z.numpy()
    for row in range(ROWS):
        own = [np.split(H[n][row].numpy(), 2)[0] for n, t in zip(H, THERE[row], strict=True) if t]
        np.testing.assert_allclose(z[:, row].mean(0), np.mean(own, 0), atol=0.05)
        np.testing.assert_allclose(code.z[row].numpy(), np.mean(own, 0), rtol=1e-6)
        scales = code.scales[row][torch.tensor(THERE[row])].numpy()
        spread = np.mean([2 * s**2 + m**2 for s, m in zip(scales, own, strict=True)], 0)
        np.testing.assert_allclose(z[:, row].var(0), spread - np.mean(own, 0) ** 2, rtol=0.1)


def test_the_draws_of_each_expert_stand_one_after_another():
    torch.manual_seed(0)
    code = MixtureOfExperts(5000)(H, sample=True)
    assert code.samples == 15_000
    assert len(code) == ROWS
    for place, (mean, logvar) in enumerate(h.chunk(2, 1) for h in H.values()):
        own = code.z[5000 * place : 5000 * (place + 1)]
        torch.testing.assert_close(own.mean(0), mean, rtol=0, atol=0.15)
        torch.testing.assert_close(own.std(0), (0.5 * logvar).exp(), rtol=0.06, atol=0)


def test_components_are_the_products_of_all_subsets():
    assert subset_members(3).int().tolist() == [
        [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1],
    ]  # fmt: skip
    code = MixtureOfProducts(3)(H, mask=MASK)
    for row, (place, members) in itertools.product(range(ROWS), enumerate(subset_members(3))):
        has = bool((~members.numpy() | THERE[row]).all())
        assert bool(code.present[row, place]) == has
        if has:
            mean, variance = multiplied(row, members, prior=bool(members.all()))
            np.testing.assert_allclose(code.means[row, place].numpy(), mean, rtol=1e-10)
            np.testing.assert_allclose(code.scales[row, place].numpy() ** 2, variance, rtol=1e-10)
    with pytest.raises(IsthmusError, match=r"2047 subsets.*at most 10"):
        MixtureOfProducts(11)


def test_random_subsets_are_different_and_neither_single_nor_whole():
    torch.manual_seed(0)
    seen = [tuple(s) for _ in range(400) for s in random_subsets(4, 1)]
    counts = {s: seen.count(s) for s in set(seen)}
    assert len(counts) == 10
    assert all(2 <= len(s) < 4 for s in counts)
    assert min(counts.values()) > 15
    assert len(set(random_subsets(4, 10))) == 10
    assert len(random_subsets(3, 50)) == 3
    assert random_subsets(2, 1) == []


def test_the_subsets_of_a_product_are_products():
    torch.manual_seed(0)
    code = ProductOfExperts(subsets=9)(H, sample=True, mask=MASK)
    assert len(code.subsets) == 6
    assert code.samples is None
    for members, z, mean, logvar in code.subsets:
        own = np.isin(list(H), members)
        for row in range(ROWS):
            wanted = multiplied(row, own & THERE[row])
            np.testing.assert_allclose(mean[row].numpy(), wanted[0], atol=1e-12)
            np.testing.assert_allclose(logvar[row].exp().numpy(), wanted[1], rtol=1e-10)
        assert z.shape == mean.shape
        assert not torch.equal(z, mean)
    assert ProductOfExperts(unimodal=False)(H, sample=True).subsets == ()


def test_the_laplace_prior():
    prior = LaplacePrior(3, learnt=True)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.0, 0.5, -1.0]))
    scales = prior.scales().detach().numpy()
    assert scales.mean() == pytest.approx(1.0, abs=1e-5)
    z = RNG.normal(size=(7, 3)).astype(np.float32)
    wanted = stats.laplace.logpdf(z, scale=scales).sum(-1)
    np.testing.assert_allclose(prior.log_prob(torch.tensor(z)).detach().numpy(), wanted, rtol=1e-5)
    torch.manual_seed(0)
    drawn = prior.sample(200_000).detach().numpy()
    for latent in range(3):
        exact = stats.laplace(scale=scales[latent])
        assert stats.kstest(drawn[:, latent], exact.cdf).pvalue > 1e-3
    assert not list(LaplacePrior(3).parameters())
