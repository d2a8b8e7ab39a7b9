"""What a place is rebuilt from, by its derivatives and by hand."""

import pytest
import torch

from isthmus.networks.causal_autoencoder import CausalAutoencoder


@pytest.mark.parametrize("causal", [True, False])
def test_derivatives_show_which_places_are_seen(causal):
    torch.manual_seed(0)
    model = CausalAutoencoder(4, causal=causal).double()
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(model, x)[0, :, :, 0]
    seen = jacobian.abs().amax((1, 3)) > 0  # (places out, places in)
    out, at = torch.arange(7)[:, None], torch.arange(7)
    expected = (at <= out) & (at >= out - 2) if causal else (at - out).abs() <= 1
    assert torch.equal(seen, expected)


def test_the_parts_are_a_linear_map_gelu_and_a_convolution():
    torch.manual_seed(0)
    model = CausalAutoencoder(8)
    assert model.encoder.weight.shape == (6, 8)
    x = torch.randn(2, 5, 8)
    code = torch.nn.functional.gelu(x @ model.encoder.weight.T + model.encoder.bias)
    expected = torch.zeros(2, 5, 8)
    for place in range(5):
        total = model.decoder.bias.expand(2, 8)
        for back in range(3):
            if place >= back:
                total = total + code[:, place - back] @ model.decoder.weight[:, :, 2 - back].T
        expected[:, place] = total
    torch.testing.assert_close(model(x), expected)
