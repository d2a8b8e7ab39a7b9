"""The sliced distance against closed forms and an exact assignment; priors and the weight."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from isthmus.anatomy import Autoencoder, Bernoulli, Clock, Code, Output, Signal, View
from isthmus.errors import IsthmusError
from isthmus.recipes.registry import get_recipe
from isthmus.recipes.wasserstein_adversarial.swae import (
    AbsoluteError,
    CrossEntropy,
    Disk,
    Ring,
    Rising,
    SlicedWasserstein,
    Square,
    directions,
    sliced_wasserstein,
    swae,
)

IMAGE = Signal("image", (1, 8, 8), "float32", 0.0, 1.0)
VECTOR = Signal("vector", (20,))


def points(rows: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64)


def test_shift_of_a_set_costs_its_mean_squared_projection() -> None:
    a, shift, along = points(50, 4), points(1, 4, 1), directions(7, 4, points(1, 4))
    wanted = (along @ shift[0]).square().mean()
    torch.testing.assert_close(sliced_wasserstein(a, a + shift, along), wanted)
    over_a_basis = sliced_wasserstein(a, a + shift, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(over_a_basis, shift.square().sum() / 4)


def test_gaussians_of_one_covariance_differ_by_their_means() -> None:
    torch.manual_seed(0)
    mean = torch.tensor([1.5, -1.0, 0.5], dtype=torch.float64)
    a, b = points(20_000, 3), points(20_000, 3, 1) + mean
    # Over an orthonormal basis the squared projections of the shift add up to its square.
    basis = torch.linalg.qr(points(3, 3, 2)).Q
    found = sliced_wasserstein(a, b, basis).item()
    assert found == pytest.approx(mean.square().sum().item() / 3, rel=0.03)


def test_gaussians_of_one_mean_differ_by_their_deviations() -> None:
    a, b = points(20_000, 2), 2.0 * points(20_000, 2, 1)
    found = sliced_wasserstein(a, b, directions(5, 2, a)).item()
    assert found == pytest.approx(1.0, rel=0.05)


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 12), dim=st.integers(1, 4), seed=st.integers(0, 1000))
def test_each_line_is_the_cheapest_assignment(rows: int, dim: int, seed: int) -> None:
    a, b = points(rows, dim, seed), points(rows, dim, seed + 1)
    along = torch.nn.functional.normalize(points(3, dim, seed + 2), dim=1)
    costs = []
    for line in along.numpy():
        cost = np.subtract.outer(a.numpy() @ line, b.numpy() @ line) ** 2
        costs.append(cost[linear_sum_assignment(cost)].mean())
    assert sliced_wasserstein(a, b, along).item() == pytest.approx(np.mean(costs), abs=1e-12)


def test_distance_of_a_set_from_itself_in_another_order_is_zero() -> None:
    a = points(30, 3)
    along = directions(10, 3, a)
    assert sliced_wasserstein(a, a.flip(0), along).item() < 1e-28


def test_gradient_passes_through_the_pairing() -> None:
    a, b = points(9, 3).requires_grad_(), points(9, 3, 1).requires_grad_()
    along = directions(5, 3, a.detach())
    assert torch.autograd.gradcheck(lambda u, v: sliced_wasserstein(u, v, along), (a, b))


def test_directions_are_unit_vectors_without_a_preferred_side() -> None:
    torch.manual_seed(0)
    along = directions(20_000, 3, torch.empty(0))
    torch.testing.assert_close(along.norm(dim=1), torch.ones(20_000))
    torch.testing.assert_close(along.T @ along / 20_000, torch.eye(3) / 3, atol=0.01, rtol=0)
    assert along.mean(0).abs().max() < 0.02


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_shapes_of_the_priors(dim: int) -> None:
    torch.manual_seed(0)
    ring, disk, square = Ring(dim)(20_000), Disk(dim)(20_000), Square(dim)(20_000)
    # Noise of 0.01 moves a radius by little; over directions only the radial part counts.
    assert ring.norm(dim=1).mean().item() == pytest.approx(1.0, abs=0.001)
    assert ring.norm(dim=1).std().item() == pytest.approx(0.01, rel=0.05)
    radius = disk.norm(dim=1)
    quantiles = torch.quantile(radius, torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quantiles, torch.tensor([0.25, 0.5, 0.75]), atol=0.02, rtol=0)
    assert radius.max() <= 1.0
    assert square.abs().max() <= 1.0
    torch.testing.assert_close(square.var(0), torch.full((dim,), 1 / 3), atol=0.01, rtol=0)


def test_term_compares_the_codes_with_draws_of_the_prior() -> None:
    model = swae(VECTOR, prior=lambda n: torch.full((n, 2), 3.0))
    codes = torch.zeros(6, 2)
    x = torch.zeros(6, 20)
    out = Output(x, x, [View(x)], [Code(codes)])
    torch.manual_seed(0)
    # Every point moves by (3, 3): 18 / 2 on average over directions.
    value = SlicedWasserstein(20_000)(model, out)
    assert value.shape == ()
    assert value.item() == pytest.approx(9.0, rel=0.03)


def test_weight_is_held_for_eleven_epochs_and_grows_over_nineteen() -> None:
    schedule = Rising(10.0, 1.1)
    found = [schedule(Clock(120 * epoch + 119, 3600)) for epoch in range(30)]
    weight, wanted = 10.0, []
    for epoch in range(30):
        weight = 1.1 * weight if epoch > 10 else weight
        wanted.append(weight)
    assert found == pytest.approx(wanted)
    assert schedule(Clock(120 * 11, 3600)) == pytest.approx(11.0)


def loss_terms(model: Autoencoder, x: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return model.objective(model, model(x)).terms


def test_cost_of_unit_data_is_cross_entropy_and_absolute_error_per_pixel() -> None:
    model, x = swae(IMAGE), torch.rand(5, 1, 8, 8)
    assert isinstance(model.likelihood, Bernoulli)
    recon = model(x).recon
    assert recon is not None
    p, t = recon.detach().numpy().astype(float), x.numpy().astype(float)
    found = loss_terms(model, x)
    entropy = -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean()
    assert found["cross_entropy"].item() == pytest.approx(entropy, rel=1e-5)
    assert found["absolute_error"].item() == pytest.approx(np.abs(p - t).mean(), rel=1e-5)


def test_cost_of_other_data_is_squared_error_and_no_absolute_error_on_request() -> None:
    x = torch.randn(5, 20)
    assert set(loss_terms(swae(VECTOR), x)) == {"mse", "absolute_error", "sliced_wasserstein"}
    assert set(loss_terms(swae(VECTOR, l1=0.0), x)) == {"mse", "sliced_wasserstein"}


def test_per_example_terms_do_not_see_the_batch() -> None:
    model, x = swae(IMAGE), torch.rand(4, 1, 8, 8)
    for term in (CrossEntropy(), AbsoluteError()):
        once, twice = term(model, model(x)), term(model, model(torch.cat([x, x])))
        torch.testing.assert_close(twice, torch.cat([once, once]))


@pytest.mark.parametrize(
    "sampler",
    [lambda n: torch.randn(n, 3), lambda n: np.zeros((n, 2)), lambda n: torch.randn(2 * n, 2)],
)
def test_prior_of_another_shape_is_an_error(sampler: Callable[[int], Tensor]) -> None:
    with pytest.raises(IsthmusError, match=r"\(n, 2\)"):
        swae(VECTOR, prior=sampler)


def test_asking_the_prior_for_its_shape_draws_nothing_from_the_seed() -> None:
    def drawn(**options: object) -> Tensor:
        torch.manual_seed(0)
        swae(VECTOR, **options)
        return torch.rand(3)

    own = drawn(prior=lambda n: torch.randn(n, 2))
    torch.testing.assert_close(own, drawn(prior="ring"), rtol=0, atol=0)


def test_published_training() -> None:
    options, training = get_recipe("swae").parse({})
    assert (options["latent_dim"], options["projections"], options["prior"]) == (2, 50, "ring")
    assert (training.batch_size, training.epochs, training.optimiser) == (500, 30, "rmsprop")


def test_misspelt_prior_is_an_error() -> None:
    with pytest.raises(IsthmusError, match="did you mean 'ring'"):
        swae(VECTOR, prior="rign")


def test_training_draws_the_codes_to_the_prior() -> None:
    torch.manual_seed(0)
    model = swae(VECTOR, prior="disk", hidden=(32,))
    optimiser = torch.optim.RMSprop(model.parameters(), 1e-3, 0.9, 1e-7)
    x = 3.0 * torch.randn(200, 20)
    distances = []
    for _ in range(150):
        losses = model.objective(model, model(x))
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        distances.append(losses.terms["sliced_wasserstein"].item())
    assert distances[-1] < 0.05 * distances[0]
    assert model.sample(3).shape == (3, 20)
