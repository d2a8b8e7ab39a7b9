import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.networks import ACTIVATIONS, MLPDecoder, MLPEncoder

SERIES = Signal("series", (5, 3))


def untrained(module: nn.Module, x: torch.Tensor) -> list[str]:
    """Names of the parameters that a random linear functional of the output does not reach."""
    out = module(x)
    (out * torch.randn_like(out)).sum().backward()
    return [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    out_dim=st.integers(1, 5),
    hidden=st.lists(st.integers(2, 9), max_size=3),
    norm=st.sampled_from([None, "batch", "layer"]),
)
def test_any_shape_goes_to_a_vector_and_back(shape, out_dim, hidden, norm):
    signal = Signal("vector", tuple(shape))
    x = torch.randn(4, *shape)
    z = MLPEncoder(signal, out_dim, hidden, "elu", norm)(x)
    assert z.shape == (4, out_dim)
    assert MLPDecoder(signal, out_dim, hidden, "elu", norm)(z).shape == x.shape


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_every_parameter_is_trained(norm):
    torch.manual_seed(0)
    assert untrained(MLPEncoder(SERIES, 4, (16, 8), "tanh", norm), torch.randn(8, 5, 3)) == []
    assert untrained(MLPDecoder(SERIES, 4, (16, 8), "tanh", norm), torch.randn(8, 4)) == []


def test_no_hidden_layers_is_one_affine_map():
    encoder, x = MLPEncoder(SERIES, 4, ()), torch.randn(6, 5, 3)
    weight, bias = encoder.parameters()
    torch.testing.assert_close(encoder(x), x.reshape(6, 15) @ weight.T + bias)
    decoder, z = MLPDecoder(SERIES, 4, ()), torch.randn(6, 4)
    weight, bias = decoder.parameters()
    torch.testing.assert_close(decoder(z), (z @ weight.T + bias).reshape(6, 5, 3))


def test_the_decoder_mirrors_the_encoder():
    encoder, decoder = MLPEncoder(SERIES, 4, (12, 6)), MLPDecoder(SERIES, 4, (12, 6))
    down = [p.shape for p in encoder.parameters() if p.ndim == 2]
    up = [p.shape[::-1] for p in decoder.parameters() if p.ndim == 2]
    assert down == up[::-1] == [(12, 15), (6, 12), (4, 6)]


def test_layers_come_in_the_order_linear_norm_activation_dropout():
    kinds = [type(m) for m in MLPEncoder(SERIES, 4, (8,), "gelu", "layer", 0.1).layers]
    assert kinds == [nn.Linear, nn.LayerNorm, nn.GELU, nn.Dropout, nn.Linear]


def test_an_absent_choice_adds_no_module():
    kinds = [type(m) for m in MLPEncoder(SERIES, 4, (8,), "identity").layers]
    assert kinds == [nn.Linear, nn.Linear]


def test_final_activation_bounds_the_output():
    decoder = MLPDecoder(SERIES, 4, (8,), final="sigmoid")
    out = decoder(100 * torch.randn(50, 4))
    assert 0 <= float(out.detach().min()) < float(out.detach().max()) <= 1


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("tanh", lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
        ("elu", lambda x: torch.where(x > 0, x, x.exp() - 1)),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.01 * x)),
        ("silu", lambda x: x / (1 + (-x).exp())),
        ("sigmoid", lambda x: 1 / (1 + (-x).exp())),
        ("identity", lambda x: x),
    ],
)
def test_activations_have_their_usual_formula(name, function):
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name]()(x), function(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"norm": "batc"}, "did you mean 'batch'"),
        ({"hidden": (8, 0)}, r"hidden=\(8, 0\)"),
    ],
)
def test_bad_options_are_named(options, message):
    for network in (MLPEncoder, MLPDecoder):
        with pytest.raises(IsthmusError, match=message):
            network(SERIES, 4, **options)


def test_a_collection_is_no_single_input():
    parts = Signal("collection", parts={"a": SERIES, "b": SERIES})
    with pytest.raises(IsthmusError, match="'collection' as a whole"):
        MLPEncoder(parts, 4)
