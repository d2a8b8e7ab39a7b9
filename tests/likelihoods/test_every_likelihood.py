"""What holds for every likelihood: shapes, masks, gradients, draws, extremes, errors."""

import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.likelihoods import Mixed
from likelihoods.cases import CASES

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def with_nan(x, mask):
    """x with NaN (integers: a value far off the support) where nothing is observed."""
    bad = float("nan") if x.is_floating_point() else 10**6
    return x.masked_fill(~mask, bad)


@every
def test_one_value_per_row_whatever_the_batch(case):
    likelihood, params, x = case.drawn(rows=4, lead=(2, 3))
    values = likelihood.log_prob(params, x)
    assert values.shape == (2, 3, 4)
    assert torch.isfinite(values).all()
    again = likelihood.log_prob(torch.cat([params, params], 2), torch.cat([x, x]))
    torch.testing.assert_close(again, torch.cat([values, values], 2), rtol=0, atol=1e-12)
    alone = likelihood.log_prob(params[1, 2, 1:2], x[1:2])
    torch.testing.assert_close(alone, values[1, 2, 1:2], rtol=0, atol=1e-12)


@every
def test_gradients_are_those_of_finite_differences(case):
    likelihood, params, x = case.drawn(rows=2)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    own = list(likelihood.parameters())

    def value(params, *_):
        return likelihood.log_prob(params, x), likelihood.log_prob(params, with_nan(x, mask), mask)

    # Laplace and the mixed table have kinks and flat ids in x, so only params are differentiated.
    assert torch.autograd.gradcheck(value, (params.requires_grad_(), *own))


@every
@pytest.mark.parametrize("axes", [1, 2, 9])
def test_the_unobserved_counts_nothing_even_where_it_is_nan(case, axes):
    likelihood, params, x = case.drawn(rows=5, lead=(2,))
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(x.shape[:axes], generator=generator) < 0.6
    mask[0], mask[1] = False, True
    everywhere = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)).expand(x.shape)
    x, broken = x.clone(), with_nan(x, everywhere)
    params.requires_grad_()
    values = likelihood.log_prob(params, broken, mask)
    assert values.shape == (2, 5)
    assert (values[:, 0] == 0).all()
    torch.testing.assert_close(values[:, 1], likelihood.log_prob(params, x)[:, 1])
    leaves = [params, *likelihood.parameters()]
    for leaf, gradient in zip(leaves, torch.autograd.grad(values.sum(), leaves), strict=True):
        assert torch.isfinite(gradient).all()
        if leaf is params:
            assert (gradient[:, 0] == 0).all()
            assert (gradient[:, 1] != 0).any()
            if gradient.shape[1 : x.ndim + 1] == x.shape:
                assert (gradient[:, ~everywhere] == 0).all()


@every
def test_a_masked_value_is_that_of_the_observed_elements_alone(case):
    likelihood, params, x = case.drawn(rows=3)
    if isinstance(likelihood, Mixed) or case.name in ("multinomial", "learned-each", "zinb"):
        pytest.skip("not the same likelihood on other columns: tested on its own")
    mask = torch.tensor([True, False, True, True]).unsqueeze(1).expand(3, 4, 3)
    mask = mask & torch.tensor([True, True, False])
    values = likelihood.log_prob(params, with_nan(x, mask), mask)
    rest = likelihood.log_prob(params[:, [0, 2, 3]][:, :, :2], x[:, [0, 2, 3], :2])
    torch.testing.assert_close(values, rest, rtol=0, atol=1e-12)


@every
def test_gradients_with_respect_to_x_stop_at_the_mask(case):
    likelihood, params, x = case.drawn(rows=3)
    if not x.is_floating_point():
        pytest.skip("ids have no gradient")
    mask = torch.ones(x.shape, dtype=torch.bool)
    mask[:, 1] = False
    x = with_nan(x, mask).requires_grad_()
    (gradient,) = torch.autograd.grad(likelihood.log_prob(params, x, mask).sum(), x)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 1] == 0).all()
    assert (gradient[:, 0] != 0).any()


@every
def test_draws_follow_the_generator_and_lie_in_the_support(case):
    likelihood, params, x = case.drawn(rows=4, lead=(2,))
    first, second, third = (
        likelihood.sample(params, generator=torch.Generator().manual_seed(seed))
        for seed in (7, 7, 8)
    )
    assert first.shape == (2, 4, *case.shape)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    state = torch.random.get_rng_state()
    likelihood.sample(params, generator=torch.Generator())
    assert torch.equal(torch.random.get_rng_state(), state), "the global stream was used"
    for draw in first:
        assert likelihood.support(draw).all()
    assert likelihood.mean(params).shape == (2, 4, *case.shape)
    likelihood.check(x)


@every
def test_draws_have_the_mean_and_the_entropy_that_the_log_probability_states(case):
    """Over draws the mean is ``mean``, and the mean of the score (d log p / d params) is 0."""
    likelihood, params, _ = case.drawn(rows=1)
    rows = 20_000
    many = params.expand(rows, *params.shape[1:]).clone().requires_grad_()
    drawn = likelihood.sample(many.detach(), generator=torch.Generator().manual_seed(0))
    (score,) = torch.autograd.grad(likelihood.log_prob(many, drawn).sum(), many)
    error = score.std(0) / rows**0.5
    assert (score.mean(0).abs() <= 5 * error + 1e-9).all()
    mean = likelihood.mean(params)[0]
    if mean.is_floating_point():
        found, error = drawn.mean(0), drawn.std(0) / rows**0.5
        near = (found - mean).abs() <= 5 * error + 1e-9
        if case.name == "mixed":  # ids have no mean
            near[3] = True
        if case.name == "discretised-logistic":
            near = (found - mean).abs() <= 5 * error + 0.5 / 255
        assert near.all()


@every
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_extreme_numbers_from_a_network_give_finite_values_and_gradients(case, size):
    likelihood, params, x = case.drawn(rows=6)
    likelihood, x = likelihood.float(), x.float() if x.is_floating_point() else x
    params = (params.sign() * size).float().requires_grad_()
    value = likelihood.log_prob(params, x)
    assert torch.isfinite(value).all()
    (gradient,) = torch.autograd.grad(value.sum(), params)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(likelihood.mean(params).float()).all()
    drawn = likelihood.sample(params.detach(), generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(drawn.float()).all()


@every
def test_values_off_the_support_are_refused_in_one_sentence(case):
    likelihood, _, x = case.drawn()
    if not x.is_floating_point():
        pytest.skip("ids cannot be NaN: tested on their own")
    broken = x.clone()
    broken[2, 1] = float("nan")
    likelihood.check(broken, ~broken.isnan())
    with pytest.raises(IsthmusError, match=r"needs .* hold nan") as error:
        likelihood.check(broken)
    assert "\n" not in str(error.value)


@every
def test_params_of_another_shape_are_refused(case):
    likelihood, params, x = case.drawn()
    if case.name in ("gaussian", "bernoulli"):
        pytest.skip("these broadcast, as they always have")
    with pytest.raises(IsthmusError, match="decoder"):
        likelihood.log_prob(params[..., :-1], x)


def test_a_mask_that_does_not_fit_is_refused():
    likelihood, params, x = CASES[0].drawn()
    for mask in (torch.ones(4, dtype=torch.bool), torch.ones(5, 3, dtype=torch.bool), x[:, 0]):
        with pytest.raises(IsthmusError, match="True where observed"):
            likelihood.log_prob(params, x, mask)
