"""Penalties and the gates' own error, against NumPy and finite differences in float64."""

import numpy as np
import pytest
import torch

from isthmus.anatomy import Autoencoder, Code, Output, Signal, SparseCode, ThresholdCode, View
from isthmus.bottlenecks import Gated
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import L1, ActiveLatents, GateError, GateL1

WIDTH, D = 6, 4


def out_of(code, x):
    return Output(x, x, [View(x)], [code])


def gated_model(seed=0):
    torch.manual_seed(seed)
    dictionary = Dictionary(WIDTH, (D,))
    model = Autoencoder(
        Signal.infer(np.zeros((2, D), np.float32)),
        encoder=DictionaryEncoder(dictionary),
        bottleneck=Gated(WIDTH, 10),
        decoder=dictionary,
        objective=GateL1(),
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def test_l1_is_the_sum_of_sizes_of_both_kinds_of_code():
    z = torch.tensor([[0.0, 2.0, -0.5], [1.0, 0.0, 0.25]], dtype=torch.float64, requires_grad=True)
    for code in (ThresholdCode(z), SparseCode(z, torch.tensor([[0, 4, 2]] * 2), 9)):
        value = L1()(gated_model(), out_of(code, torch.zeros(2, D)))
        assert value.tolist() == [2.5, 1.25]
        (gradient,) = torch.autograd.grad(value.sum(), z)
        assert torch.equal(gradient, z.detach().sign())


def test_active_latents_have_no_gradient():
    z = torch.tensor([[0.0, 2.0, -0.5]], requires_grad=True)
    value = ActiveLatents()(gated_model(), out_of(ThresholdCode(z), torch.zeros(1, D)))
    assert value.tolist() == [2.0]
    assert not value.requires_grad


def codes(model, x):
    """The same gated code, dense and sparse."""
    dense = model.bottleneck(model.encode_view(View(x)))
    assert isinstance(dense, ThresholdCode)
    # every open gate has a place, whether its size is positive or not
    (gate,) = dense.gates
    indices = gate.detach().argsort(dim=1, descending=True)[:, :WIDTH]
    sparse = SparseCode(
        dense.z.gather(1, indices), indices, WIDTH, gates=(gate.gather(1, indices),)
    )
    return dense, sparse


def formula(x, weights):
    """Equation 8's last two terms in NumPy."""
    enc, b_gate, _, b_dec, frozen_dec, frozen_b = weights
    gate = np.maximum((x - b_dec) @ enc.T + b_gate, 0.0)
    left = x - (gate @ frozen_dec + frozen_b)
    return gate.sum(1), (left**2).sum(1)


@pytest.mark.parametrize("sparse", [False, True])
def test_gate_terms_and_their_gradients(sparse):
    model = gated_model()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, D))
    named = [model.encoder.weight, model.encoder.bias, model.decoder.weight, model.decoder.bias]
    arrays = [p.detach().numpy().copy() for p in named]
    fixed = [arrays[2].copy(), arrays[3].copy()]
    code = codes(model, torch.from_numpy(x))[int(sparse)]
    out = out_of(code, torch.from_numpy(x))
    values = [GateL1()(model, out), GateError()(model, out)]
    for value, expected in zip(values, formula(x, [*arrays, *fixed]), strict=True):
        np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-10)
    (values[0].sum() + 0.7 * values[1].sum()).backward()

    def loss():
        l1, error = formula(x, [*arrays, *fixed])
        return l1.sum() + 0.7 * error.sum()

    h = 1e-6
    for parameter, array in zip(named, arrays, strict=True):
        numeric = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            at = array[place]
            array[place] = at + h
            above = loss()
            array[place] = at - h
            numeric[place] = (above - loss()) / (2 * h)
            array[place] = at
        got = np.zeros_like(array) if parameter.grad is None else parameter.grad.numpy()
        np.testing.assert_allclose(got, numeric, atol=1e-6)


def test_the_frozen_decoder_gets_no_gradient():
    model = gated_model()
    x = torch.randn(5, D, dtype=torch.float64)
    GateError()(model, out_of(model.bottleneck(model.encode_view(View(x))), x)).sum().backward()
    assert model.decoder.weight.grad is None
    assert model.encoder.weight.grad.abs().sum() > 0


def test_gate_terms_want_a_gated_code():
    with pytest.raises(IsthmusError, match="needs an AnySparseCode as the code, and the model has"):
        GateL1()(gated_model(), out_of(Code(torch.ones(2, 3)), torch.ones(2, 3)))
