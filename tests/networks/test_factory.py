import pytest
import torch
from torch import nn

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.networks import (
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    TransformerDecoder,
    TransformerEncoder,
    decoder_for,
    encoder_for,
    network_name,
)

VECTOR, DIGITS = Signal("vector", (24,)), Signal("image", (1, 8, 8))
SLIVER, SERIES = Signal("image", (1, 7, 64)), Signal("series", (6, 2))


@pytest.mark.parametrize(
    ("signal", "network", "encoder", "decoder"),
    [
        (VECTOR, "auto", MLPEncoder, MLPDecoder),
        (SERIES, "auto", MLPEncoder, MLPDecoder),
        (SLIVER, "auto", MLPEncoder, MLPDecoder),
        (DIGITS, "auto", ConvEncoder, ConvDecoder),
        (DIGITS, "mlp", MLPEncoder, MLPDecoder),
        (SLIVER, "conv", ConvEncoder, ConvDecoder),
        (DIGITS, "transformer", TransformerEncoder, TransformerDecoder),
        (VECTOR, "transformer", TransformerEncoder, TransformerDecoder),
    ],
)
def test_names_build_a_fitting_pair(signal, network, encoder, decoder):
    down, up = encoder_for(signal, 3, network), decoder_for(signal, 3, network)
    assert type(down) is encoder
    assert type(up) is decoder
    x = torch.randn(2, *signal.shape)
    assert up(down(x)).shape == x.shape


def test_options_reach_the_layers():
    options = {"hidden": (7,), "activation": "tanh", "norm": "batch"}
    for build in (encoder_for, decoder_for):
        kinds = [type(m) for m in build(VECTOR, 3, **options).layers]
        assert kinds == [nn.Linear, nn.BatchNorm1d, nn.Tanh, nn.Linear]
    conv = encoder_for(DIGITS, 3, channels=(5,), hidden=(), activation="elu")
    assert [type(m) for m in conv.convolutions] == [nn.Conv2d, nn.ELU]
    assert conv.convolutions[0].out_channels == 5
    assert isinstance(decoder_for(DIGITS, 3, final="sigmoid").convolutions[-1], nn.Sigmoid)


def test_a_transformer_takes_its_own_options_and_no_dense_layers():
    network = encoder_for(DIGITS, 3, "transformer", hidden=(99,), width=8, depth=1, heads=2)
    assert network.tokens.width == 8
    assert all(99 not in p.shape for p in network.parameters())


def test_a_module_of_the_user_is_returned_unchanged():
    mine = nn.Linear(24, 3)
    assert encoder_for(VECTOR, 3, mine, hidden=(5,)) is mine
    assert decoder_for(VECTOR, 3, mine) is mine


def test_auto_is_resolved_by_the_signal():
    assert network_name(DIGITS, "auto") == "conv"
    assert network_name(VECTOR, "auto") == "mlp"
    assert network_name(VECTOR, "transformer") == "transformer"


@pytest.mark.parametrize(
    ("signal", "options", "message"),
    [
        (VECTOR, {"network": "conv"}, 'use network="mlp"'),
        (VECTOR, {"network": "transfomer"}, "did you mean 'transformer'"),
        (
            DIGITS,
            {"chanels": (4,)},
            "option of the conv network 'chanels': did you mean 'channels'",
        ),
        (VECTOR, {"channels": (4,)}, "option of the mlp network 'channels'"),
    ],
)
def test_bad_names_are_answered(signal, options, message):
    for build in (encoder_for, decoder_for):
        with pytest.raises(IsthmusError, match=message):
            build(signal, 3, **options)


@pytest.mark.parametrize("network", ["mlp", "conv", "transformer"])
@pytest.mark.parametrize("signal", [VECTOR, DIGITS, SERIES, Signal("image", (3, 8, 9))])
def test_a_decoder_gives_several_numbers_for_each_element(signal, network):
    if network == "conv" and signal.kind != "image":
        pytest.skip("convolutions are for images")
    decoder = decoder_for(signal, 3, network, numbers=2)
    z = torch.randn(4, 3)
    out = decoder(z)
    assert out.shape == (4, *signal.shape, 2)
    # The two numbers of an element are neighbours among the wide network's outputs.
    axis = 1 if signal.kind == "image" else -1
    wide = decoder.network(z)
    where = [slice(None)] * wide.ndim
    for number in range(2):
        where[axis] = slice(number, None, 2)
        assert torch.equal(out[..., number], wide[tuple(where)])


@pytest.mark.parametrize("signal", [VECTOR, DIGITS])
def test_one_number_is_the_decoder_without_the_option(signal):
    torch.manual_seed(0)
    plain = decoder_for(signal, 3)
    torch.manual_seed(0)
    one = decoder_for(signal, 3, numbers=1)
    assert type(one) is type(plain)
    for (name, a), (other, b) in zip(
        plain.state_dict().items(), one.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b)


def test_several_numbers_with_a_final_activation_are_an_error():
    with pytest.raises(IsthmusError, match="would bend all 2 numbers"):
        decoder_for(VECTOR, 3, numbers=2, final="sigmoid")
    own = nn.Linear(3, 24)
    assert decoder_for(VECTOR, 3, own, numbers=2) is own
