import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.networks import ConvDecoder, ConvEncoder
from isthmus.networks.conv import strides


def image(channels: int, height: int, width: int) -> Signal:
    return Signal("image", (channels, height, width))


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 4),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    kernel=st.integers(3, 6),
    layers=st.integers(1, 5),
)
@example(1, 1, 1, 4, 4)
@example(3, 27, 31, 4, 4)
@example(1, 8, 8, 4, 4)
@example(1, 28, 28, 4, 4)
@example(3, 32, 32, 4, 4)
@example(3, 64, 64, 4, 4)
@example(3, 64, 5, 5, 5)
def test_the_decoder_returns_the_size_the_encoder_read(channels, height, width, kernel, layers):
    signal = image(channels, height, width)
    options = {"channels": (3,) * layers, "kernel": kernel, "hidden": (5,)}
    z = ConvEncoder(signal, 2, **options)(torch.randn(2, *signal.shape))
    assert z.shape == (2, 2)
    assert ConvDecoder(signal, 2, **options)(z).shape == (2, *signal.shape)


@settings(max_examples=200, deadline=None)
@given(side=st.integers(1, 600), kernel=st.integers(3, 9), layers=st.integers(1, 9))
def test_every_pixel_is_read_and_written(side, kernel, layers):
    for stride in strides(side, layers, kernel):
        starts = range(0, stride.after * stride.step, stride.step)
        touched = {start - stride.padding + tap for start in starts for tap in range(stride.kernel)}
        assert set(range(stride.before)) <= touched
        assert 0 <= stride.output_padding < stride.step
        assert stride.after == (
            stride.before if stride.step == 1 else (stride.before + kernel % 2) // 2
        )


@pytest.mark.parametrize("size", [(1, 8, 8), (2, 27, 31), (3, 64, 3), (1, 2, 1)])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_every_parameter_and_pixel_takes_part(size, norm):
    torch.manual_seed(0)
    signal = image(*size)
    options = {"channels": (4, 6), "hidden": (8,), "activation": "tanh", "norm": norm}
    encoder = ConvEncoder(signal, 3, **options)
    x = torch.randn(5, *size, requires_grad=True)
    out = encoder(x)
    (out * torch.randn_like(out)).sum().backward()
    assert bool((x.grad != 0).all())
    decoder = ConvDecoder(signal, 3, **options)
    out = decoder(torch.randn(5, 3))
    (out * torch.randn_like(out)).sum().backward()
    for network in (encoder, decoder):
        assert [n for n, p in network.named_parameters() if not p.grad.any()] == []


def test_every_output_pixel_depends_on_the_latent():
    torch.manual_seed(0)
    decoder = ConvDecoder(image(2, 27, 31), 3, activation="tanh")
    varies = decoder(torch.randn(6, 3)).var(0)
    assert bool((varies > 0).all())


def test_burgess_network_is_reached_by_options():
    encoder = ConvEncoder(image(1, 64, 64), 20, channels=(32,) * 4, hidden=(256, 256))
    reference = nn.Sequential(
        *(
            layer
            for before in (1, 32, 32, 32)
            for layer in (nn.Conv2d(before, 32, 4, 2, 1), nn.ReLU())
        ),
        nn.Flatten(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, 20),
    )
    ours = dict(zip(reference.state_dict(), encoder.state_dict().values(), strict=True))
    reference.load_state_dict(ours)
    x = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(encoder(x), reference(x), rtol=0, atol=0)


def test_the_decoder_mirrors_the_encoder():
    signal, options = image(3, 40, 24), {"channels": (4, 8, 16), "hidden": (12, 6)}
    encoder, decoder = ConvEncoder(signal, 5, **options), ConvDecoder(signal, 5, **options)
    down = [p.shape for p in encoder.convolutions.parameters() if p.ndim == 4]
    up = [p.shape for p in decoder.convolutions.parameters() if p.ndim == 4]
    # A transposed convolution stores its weight as (in, out), so mirrored weights look alike.
    assert up[::-1] == down
    down = [p.shape for p in encoder.dense.parameters() if p.ndim == 2]
    up = [p.shape[::-1] for p in decoder.dense.parameters() if p.ndim == 2]
    assert up[::-1] == down == [(12, 16 * 5 * 3), (6, 12), (5, 6)]


def test_an_even_kernel_spreads_a_constant_evenly():
    """The checkerboard that an odd kernel leaves in the interior (Odena et al. 2016)."""
    signal = image(1, 16, 16)
    for kernel, even in ((4, True), (3, False)):
        layer = ConvDecoder(signal, 1, channels=(1,), kernel=kernel, hidden=()).convolutions[0]
        nn.init.ones_(layer.weight)
        inner = layer(torch.ones(1, 1, 8, 8)).detach()[0, 0, 2:-2, 2:-2]
        assert (float(inner.max() - inner.min()) == 0.0) is even


def test_final_activation_follows_the_last_layer_alone():
    decoder = ConvDecoder(image(1, 8, 8), 2, channels=(4, 4), norm="batch", final="sigmoid")
    kinds = [type(m) for m in decoder.convolutions]
    up = nn.ConvTranspose2d
    assert kinds == [up, nn.BatchNorm2d, nn.ReLU, up, nn.Sigmoid]


@pytest.mark.parametrize(
    ("signal", "options", "message"),
    [
        (Signal("vector", (64,)), {}, "reads images, and this signal is a vector 64"),
        (image(1, 8, 8), {"kernel": 2}, "kernel=2"),
        (image(1, 8, 8), {"channels": ()}, "channels"),
        (image(1, 8, 8), {"channels": (4, -1)}, "channels"),
        (image(1, 8, 8), {"activation": "gelo"}, "did you mean 'gelu'"),
    ],
)
def test_bad_options_are_named(signal, options, message):
    for network in (ConvEncoder, ConvDecoder):
        with pytest.raises(IsthmusError, match=message):
            network(signal, 4, **options)
