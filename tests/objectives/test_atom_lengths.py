"""Prices by the lengths of atoms, against the formulas written out."""

import pytest
import torch

from isthmus.anatomy import Autoencoder, Output, Signal, SparseCode, Step, ThresholdCode, View
from isthmus.bottlenecks import JumpReLUBottleneck
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE, NormL1, NormTanh, PreActivation

WIDTH, D, ROWS = 6, 4, 5


def model():
    torch.manual_seed(0)
    dictionary = Dictionary(WIDTH, (D,), unit=False)
    with torch.no_grad():
        dictionary.weight.mul_(torch.rand(WIDTH, 1) * 3)
    return Autoencoder(
        Signal.infer(torch.randn(20, D)),
        encoder=DictionaryEncoder(dictionary, subtract_bias=False),
        bottleneck=JumpReLUBottleneck(WIDTH, 0.3, 0.5),
        decoder=dictionary,
        objective=MSE(),
    )


def output(made, kind):
    x = torch.randn(ROWS, D, generator=torch.Generator().manual_seed(1))
    h = Preactivations(x, made.encoder.weight, made.encoder.bias, None)
    z = torch.where(h.dense() > 0.3, h.dense(), 0.0).detach().requires_grad_()
    if kind == "dense":
        return Output(x, x, [View(x)], [ThresholdCode(z, h)], step=Step()), z
    indices = torch.arange(WIDTH).expand(ROWS, WIDTH)
    return Output(x, x, [View(x)], [SparseCode(z, indices, WIDTH, h)], step=Step()), z


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("name", ["l1", "tanh", "preactivation"])
def test_a_price_and_its_gradients_are_those_of_the_formula(kind, name):
    made = model()
    out, z = output(made, kind)
    term = {"l1": NormL1(), "tanh": NormTanh(4.0), "preactivation": PreActivation()}[name]
    value = term(made, out)
    weight = made.decoder.weight.detach().clone().requires_grad_()
    lengths = weight.square().sum(1).sqrt()
    u = out.x @ made.encoder.weight.detach().T + made.encoder.bias.detach()
    if name == "l1":
        wanted = sum(z[:, i].abs() * lengths[i] for i in range(WIDTH))
    elif name == "tanh":
        e = torch.exp(2 * 4.0 * z.abs() * lengths)
        wanted = ((e - 1) / (e + 1)).sum(1)
    else:
        lacking = 0.3 - u
        wanted = (torch.where(lacking > 0, lacking, 0.0) * lengths).sum(1)
    torch.testing.assert_close(value, wanted, atol=1e-5, rtol=1e-5)
    own = torch.autograd.grad(value.sum(), made.decoder.weight, retain_graph=True)[0]
    torch.testing.assert_close(
        own, torch.autograd.grad(wanted.sum(), weight)[0], atol=1e-5, rtol=1e-4
    )


def test_a_latent_that_is_surely_on_costs_one_and_is_not_shrunk():
    made = model()
    out, z = output(made, "dense")
    with torch.no_grad():
        z.copy_(torch.where(z > 0, 50.0, 0.0))
    value = NormTanh(4.0)(made, out)
    torch.testing.assert_close(value, (z > 0).float().sum(1))
    assert torch.autograd.grad(value.sum(), z)[0][z > 0].abs().max() < 1e-6


def test_latents_that_are_on_feel_no_pull():
    made = model()
    out, _ = output(made, "dense")
    pull = torch.autograd.grad(PreActivation()(made, out).sum(), made.encoder.bias)[0]
    off = (out.code.preactivations.dense() < 0.3).float().sum(0)
    torch.testing.assert_close(pull, -off * made.decoder.weight.norm(dim=1))
