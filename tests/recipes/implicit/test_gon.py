"""The gradient step against closed forms and finite differences; rows independent of each other."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.anatomy import Autoencoder, Bernoulli, Gaussian, GaussianCode, Signal, View
from isthmus.errors import IsthmusError
from isthmus.recipes.implicit.gon import TransposedConvolutions, gon
from isthmus.recipes.registry import get_recipe

VECTOR = Signal("vector", (6,))
UNIT = Signal("vector", (6,), "float32", 0.0, 1.0)
IMAGE = Signal("image", (1, 8, 8), "float32", 0.0, 1.0)
MNIST = Signal("image", (1, 28, 28), "uint8", 0.0, 1.0)


def rows(signal: Signal, n: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    draw = torch.rand if signal.is_unit else torch.randn
    return draw((n, *signal.shape), generator=generator)


def linear(signal: Signal = VECTOR, latent_dim: int = 3, **options: object) -> Autoencoder:
    torch.manual_seed(0)
    return gon(
        signal, latent_dim=latent_dim, decoder=nn.Linear(latent_dim, signal.numel), **options
    )


def smooth(seed: int = 0, **options: object) -> Autoencoder:
    """A small model whose every derivative exists, in float64."""
    torch.manual_seed(seed)
    decoder = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 6))
    return gon(VECTOR, latent_dim=2, decoder=decoder, **options).double()


def test_code_of_a_linear_decoder_is_the_projected_residual() -> None:
    model, x = linear(sigma=0.5), rows(VECTOR)
    assert isinstance(model.decoder, nn.Linear)
    weight, bias = (p.detach().double().numpy() for p in model.decoder.parameters())
    wanted = (x.double().numpy() - bias) @ weight / 0.25
    np.testing.assert_allclose(model.encode(x).numpy(), wanted, rtol=1e-5)


def test_code_of_a_linear_bernoulli_decoder_is_the_gradient_of_its_log_likelihood() -> None:
    model, x = linear(UNIT, likelihood="bernoulli"), rows(UNIT)
    assert isinstance(model.decoder, nn.Linear)
    weight, bias = (p.detach().double().numpy() for p in model.decoder.parameters())
    wanted = (x.double().numpy() - 1.0 / (1.0 + np.exp(-bias))) @ weight
    np.testing.assert_allclose(model.encode(x).numpy(), wanted, rtol=1e-5)


def test_variational_code_of_a_linear_decoder_steps_on_the_negative_elbo() -> None:
    model, x = linear(variational=True), rows(VECTOR)
    assert isinstance(model.decoder, nn.Linear)
    outer, inner = model.decoder, model.bottleneck.linear
    with torch.no_grad():
        means, variances = inner.weight[:3], inner.weight[3:]
        at_origin, logvar = inner.bias[:3], inner.bias[3:]
        likely = (x - outer(at_origin)) @ outer.weight @ means
        divergence = at_origin @ means + 0.5 * (logvar.exp() - 1.0) @ variances
        step = likely - divergence
        wanted = step @ means.T + at_origin
    torch.testing.assert_close(model.encode(x), wanted)


def test_code_is_minus_the_gradient_by_finite_differences() -> None:
    model, x = smooth(), rows(VECTOR).double()
    code = model.clean_code(x).z
    step = 1e-6

    def loss(z: Tensor) -> Tensor:
        assert model.decoder is not None
        return 0.5 * (model.decoder(z) - x).square().sum(1)

    for i in range(2):
        ahead, behind = torch.zeros(2, 5, 2, dtype=torch.float64)
        ahead[:, i], behind[:, i] = step, -step
        slope = (loss(ahead) - loss(behind)) / (2 * step)
        torch.testing.assert_close(code[:, i], -slope, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("variational", [False, True])
def test_loss_is_differentiated_through_the_gradient_step(variational: bool) -> None:
    model, x = smooth(variational=variational), rows(VECTOR, 2).double()
    names = [name for name, _ in model.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        torch.manual_seed(0)
        out = functional_call(model, dict(zip(names, values, strict=True)), (x,))
        return out.recon.square().sum() + out.code.z.sin().sum()

    values = tuple(p.detach().clone().requires_grad_() for p in model.parameters())
    assert torch.autograd.gradcheck(loss, values)


def test_stopping_the_gradient_at_the_code_would_change_the_update() -> None:
    model, x = smooth(), rows(VECTOR).double()
    assert model.decoder is not None
    parameters = list(model.parameters())
    through = torch.autograd.grad(model.objective(model, model(x)).total, parameters)
    stopped_recon = model.decoder(model.clean_code(x).z.detach())
    stopped = torch.autograd.grad(0.5 * (stopped_recon - x).square().sum(1).mean(), parameters)
    assert (through[0] - stopped[0]).norm() > 0.1 * stopped[0].norm()


@pytest.mark.parametrize("signal", [VECTOR, IMAGE])
def test_all_parameters_are_the_decoders(signal: Signal) -> None:
    model = gon(signal)
    assert model.decoder is not None
    assert {id(p) for p in model.parameters()} == {id(p) for p in model.decoder.parameters()}
    more = sum(p.numel() for p in gon(signal, variational=True).parameters())
    assert more == sum(p.numel() for p in model.parameters()) + 32 * 64 + 64


def test_published_decoder_at_its_published_size() -> None:
    model = gon(Signal("image", (1, 32, 32), "float32", 0.0, 1.0))
    assert isinstance(model.decoder, TransposedConvolutions)
    kernels = [p.shape for p in model.decoder.parameters() if p.ndim == 4]
    assert kernels == [(32, 64, 4, 4), (64, 32, 4, 4), (32, 16, 4, 4), (16, 1, 4, 4)]
    assert sum(p.numel() for p in model.parameters()) == 74_321
    assert isinstance(model.decoder.layers[-1], nn.Sigmoid)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 13, 9), (2, 8, 50)])
def test_decoder_meets_images_of_any_size(shape: tuple[int, int, int]) -> None:
    decoder = TransposedConvolutions(Signal("image", shape), 4, 2, "identity")
    assert decoder(torch.zeros(3, 4)).shape == (3, *shape)


def trained(model: Autoencoder, x: Tensor, steps: int = 12) -> list[float]:
    """A few steps of plain gradient descent, so that batch statistics have moved."""
    losses = []
    for _ in range(steps):
        total = model.objective(model, model(x)).total
        gradients = torch.autograd.grad(total, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= 0.01 * gradient
        losses.append(total.item())
    return losses


@pytest.mark.parametrize("variational", [False, True])
def test_code_of_a_row_depends_on_that_row_alone(variational: bool) -> None:
    model, x = gon(IMAGE, variational=variational), rows(IMAGE, 8)
    losses = trained(model, x)
    assert losses[-1] < losses[0]
    code = model.encode(x)
    torch.testing.assert_close(model.encode(x), code, rtol=0, atol=0)
    torch.testing.assert_close(model.encode(x, batch_size=1), code, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_without_normalisation_rows_are_trained_on_alone(norm: str) -> None:
    torch.manual_seed(0)
    model, x = gon(IMAGE, latent_dim=4, width=2, norm=norm).double(), rows(IMAGE, 6).double()
    parameters = list(model.parameters())

    def gradient(part: Tensor) -> Tensor:
        total = model.objective(model, model(part)).total
        return torch.cat([g.flatten() for g in torch.autograd.grad(total, parameters)])

    apart = torch.stack([gradient(x[:3]), gradient(x[3:])]).mean(0)
    away = (gradient(x) - apart).norm() / apart.norm()
    assert away < 1e-12 if norm == "none" else away > 1e-3


def test_training_and_evaluation_find_the_same_code() -> None:
    model, x = gon(IMAGE), rows(IMAGE, 8)
    trained(model, x, 5)
    assert model.training
    in_training = model.encode_view(View(x)).detach()
    torch.testing.assert_close(in_training, model.encode(x), rtol=1e-4, atol=1e-4)


def test_finding_the_code_leaves_modes_statistics_and_gradients_alone() -> None:
    model, x = gon(IMAGE), rows(IMAGE)
    assert model.decoder is not None
    model.decoder.layers[1].eval()
    modes = [part.training for part in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.encode_view(View(x))
    assert [part.training for part in model.modules()] == modes
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())


def test_code_records_a_graph_exactly_while_gradients_are_recorded() -> None:
    model, x = gon(VECTOR), rows(VECTOR)
    assert model.encode_view(View(x)).requires_grad
    with torch.no_grad():
        assert not model.encode_view(View(x)).requires_grad


def test_target_of_the_model_is_what_the_code_explains() -> None:
    model, x = linear(), rows(VECTOR)
    plain = model.encode(2.0 * x)
    model.target = lambda batch: 2.0 * batch
    torch.testing.assert_close(model.encode(x), plain)


@pytest.mark.parametrize(
    ("signal", "options", "likelihood"),
    [
        (IMAGE, {}, Gaussian),
        (IMAGE, {"variational": True}, Bernoulli),
        (VECTOR, {"variational": True}, Gaussian),
        (IMAGE, {"likelihood": "bernoulli"}, Bernoulli),
    ],
)
def test_likelihood_is_the_published_one(
    signal: Signal, options: dict[str, object], likelihood: type
) -> None:
    assert type(gon(signal, **options).likelihood) is likelihood


def test_variational_model_samples_and_has_a_posterior() -> None:
    model, x = gon(IMAGE, variational=True, latent_dim=4), rows(IMAGE)
    assert model.sample(3).shape == (3, 1, 8, 8)
    code = model.encode(x, code=True)
    assert isinstance(code, GaussianCode)
    torch.testing.assert_close(code.z, code.mean, rtol=0, atol=0)
    assert not torch.equal(model(x).code.z, model(x).code.z)


def test_plain_model_has_no_prior_to_sample() -> None:
    with pytest.raises(IsthmusError, match="no prior"):
        gon(IMAGE).sample(1)


def test_hidden_layers_of_a_convolutional_decoder_are_an_error() -> None:
    with pytest.raises(IsthmusError, match="network=mlp"):
        gon(IMAGE, hidden=(10,))


def test_published_training() -> None:
    _, training = get_recipe("gon").parse({})
    assert (training.steps, training.lr, training.batch_size) == (1000, 1e-4, 64)


@pytest.mark.parametrize("build", [lambda: gon(VECTOR), lambda: gon(MNIST)])
def test_reconstruction_goes_by_the_code(build: Callable[[], Autoencoder]) -> None:
    model = build()
    x = rows(model.signal, 3)
    torch.testing.assert_close(
        model.decode(model.encode(x), as_read=True), model.reconstruct(x, as_read=True)
    )
    error = (model.reconstruct(x, as_read=True) - x).square().flatten(1).mean(1)
    torch.testing.assert_close(model.score(x), -error)
