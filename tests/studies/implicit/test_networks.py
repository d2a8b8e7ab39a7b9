"""What gradient origin networks are compared with."""

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, Signal, View
from isthmus.bottlenecks import Identity
from isthmus.objectives import NegativeLogLikelihood
from isthmus.recipes.implicit.gon import GradientOrigin, TransposedConvolutions
from isthmus.studies.implicit.networks import Coordinates, Detached, Mirror

SIGNAL = Signal("image", (1, 28, 28), "float32", 0.0, 1.0)
SMALL = Signal("image", (1, 3, 5), "float32", 0.0, 1.0)


def shapes(network, kind):
    return [tuple(p.weight.shape) for p in network.modules() if isinstance(p, kind)]


def test_the_mirror_has_the_decoders_layers_in_reverse():
    mirror = Mirror(SIGNAL, 32, 16)
    decoder = TransposedConvolutions(SIGNAL, 32, 16, "identity")
    down = shapes(mirror, torch.nn.Conv2d)
    up = shapes(decoder, torch.nn.ConvTranspose2d)
    assert down == up[::-1]
    z = mirror(torch.rand(2, 1, 28, 28))
    assert z.shape == (2, 32)
    assert decoder(z).shape == (2, 1, 28, 28)


def test_the_auto_decoder_takes_the_same_step_without_a_graph():
    model = Autoencoder(
        SMALL, encoder=GradientOrigin(4), bottleneck=Identity(),
        decoder=Coordinates(SMALL, 4, 8, 2), objective=NegativeLogLikelihood(),
    )  # fmt: skip
    view = View(torch.rand(3, 1, 3, 5))
    step, fixed = model.encode_view(view), Detached(4)(view.x, view=view, model=model)
    torch.testing.assert_close(fixed, step)
    assert step.requires_grad
    assert not fixed.requires_grad


def test_coordinates_evaluate_the_siren_at_each_place():
    torch.manual_seed(0)
    decoder = Coordinates(SMALL, 2, 8, 2).double()
    z = torch.randn(3, 2, dtype=torch.float64)
    images = decoder(z).detach().numpy()
    assert images.shape == (3, 1, 3, 5)
    first, second, last, _ = decoder.network
    for row, down, across in ((0, 0, 0), (2, 1, 3), (1, 2, 4)):
        h = np.concatenate([[down - 1.0, across / 2.0 - 1.0], z[row].numpy()])
        for sine in (first, second):
            weight, bias = (p.detach().numpy() for p in sine.linear.parameters())
            h = np.sin(30.0 * (weight @ h + bias))
        weight, bias = (p.detach().numpy() for p in last.parameters())
        expected = 1.0 / (1.0 + np.exp(-(weight @ h + bias)))
        np.testing.assert_allclose(images[row, 0, down, across], expected[0], rtol=1e-9)
