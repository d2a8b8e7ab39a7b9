"""Fully connected networks for signals of any shape."""

from collections.abc import Sequence

from torch import Tensor, nn

from isthmus.anatomy import Signal
from isthmus.networks.initialisation import init_hidden
from isthmus.networks.layers import activation_layer, after, dense_stack, plain, sizes
from isthmus.shapes import Float


class MLPEncoder(nn.Module):
    """A multilayer perceptron from ``(rows, *shape)`` to ``(rows, out_dim)``.

    Each hidden layer is linear, then ``norm`` (None, ``"batch"`` or ``"layer"``), the activation
    and dropout (a probability); the last layer is linear alone. ``hidden=()`` is one linear map.
    """

    def __init__(
        self,
        signal: Signal,
        out_dim: int,
        hidden: Sequence[int] = (512,),
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = (plain(signal).numel, *sizes("hidden", hidden))
        self.layers = nn.Sequential(
            *dense_stack(widths, activation, norm, dropout), nn.Linear(widths[-1], out_dim)
        )
        init_hidden(self, activation)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows out"]:
        return self.layers(x.flatten(1))


class MLPDecoder(nn.Module):
    """The mirror of :class:`MLPEncoder`: from ``(rows, latent_dim)`` to ``(rows, *shape)``.

    ``hidden`` is in the *encoder's* order (from data to latent) and is built in reverse, so that
    the same options give a mirrored pair. ``final`` is an activation on the output.
    """

    def __init__(
        self,
        signal: Signal,
        latent_dim: int,
        hidden: Sequence[int] = (512,),
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = 0.0,
        final: str = "identity",
    ) -> None:
        super().__init__()
        self.shape = plain(signal).shape
        widths = (latent_dim, *reversed(sizes("hidden", hidden)))
        self.layers = nn.Sequential(
            *dense_stack(widths, activation, norm, dropout),
            *after(nn.Linear(widths[-1], signal.numel), activation_layer(final)),
        )
        init_hidden(self, activation)

    def forward(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows *shape"]:
        return self.layers(z).unflatten(1, self.shape)
