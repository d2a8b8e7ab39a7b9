"""Networks by name, built for a signal."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError, unknown
from isthmus.networks.conv import ConvDecoder, ConvEncoder
from isthmus.networks.layers import plain
from isthmus.networks.mlp import MLPDecoder, MLPEncoder
from isthmus.networks.transformer import TransformerDecoder, TransformerEncoder
from isthmus.shapes import Float

NETWORKS = ("auto", "mlp", "conv", "transformer")

SMALLEST_CONV = 8
"""The shortest image side, in pixels, for which ``"auto"`` takes a convolutional network."""

_ENCODERS: dict[str, type[nn.Module]] = {
    "mlp": MLPEncoder,
    "conv": ConvEncoder,
    "transformer": TransformerEncoder,
}
_DECODERS: dict[str, type[nn.Module]] = {
    "mlp": MLPDecoder,
    "conv": ConvDecoder,
    "transformer": TransformerDecoder,
}


def encoder_for(
    signal: Signal,
    out_dim: int,
    network: str | nn.Module = "auto",
    *,
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    norm: str | None = None,
    **options: Any,
) -> nn.Module:
    """An encoder from ``(rows, *signal.shape)`` to ``(rows, out_dim)``.

    ``network`` is ``"mlp"``, ``"conv"`` (images only), ``"transformer"`` (on patches) or
    ``"auto"``: convolutional for images with sides of at least 8 pixels, otherwise an MLP. A
    module of your own is returned unchanged, and no option applies to it.

    ``hidden``, ``activation`` and ``norm`` describe the fully connected (and convolutional)
    layers; None takes the network's own default, and a transformer does not read them. Further
    ``options`` go to the network's class; one that it lacks is an :class:`IsthmusError`.
    """
    shared = {"hidden": hidden, "activation": activation, "norm": norm}
    return _build(_ENCODERS, signal, out_dim, network, shared, options)


def decoder_for(
    signal: Signal,
    latent_dim: int,
    network: str | nn.Module = "auto",
    *,
    numbers: int = 1,
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    norm: str | None = None,
    **options: Any,
) -> nn.Module:
    """A decoder from ``(rows, latent_dim)`` to ``(rows, *signal.shape)``.

    The options are those of :func:`encoder_for`, and the same ones give its mirror image:
    ``hidden`` and ``channels`` are read from data to latent here too. ``final`` names an
    activation on the output (none by default).

    ``numbers`` above 1 gives ``(rows, *signal.shape, numbers)``, as a likelihood asks by its
    attribute of that name; a module of your own has to return that by itself.
    """
    shared = {"hidden": hidden, "activation": activation, "norm": norm}
    if numbers == 1 or isinstance(network, nn.Module):
        return _build(_DECODERS, signal, latent_dim, network, shared, options)
    if options.get("final", "identity") != "identity":
        raise IsthmusError(
            f"final={options['final']} would bend all {numbers} numbers of an element alike: leave "
            "it out, the likelihood bends each as it needs"
        )
    name = network_name(signal, network)
    return numbers_last(
        signal, numbers, lambda wide: _build(_DECODERS, wide, latent_dim, name, shared, options)
    )


def numbers_last(signal: Signal, numbers: int, build: Callable[[Signal], nn.Module]) -> nn.Module:
    """A decoder of ``numbers`` for each element, of a network that knows of one only.

    ``build`` makes the network for a signal that is ``numbers`` times as long along one axis.
    """
    if numbers == 1:
        return build(signal)
    axis = 0 if signal.kind == "image" else -1
    shape = list(plain(signal).shape)
    shape[axis] *= numbers
    return NumbersLast(
        build(replace(signal, shape=tuple(shape), low=None, high=None)), axis, numbers
    )


class NumbersLast(nn.Module):
    """A decoder whose output is ``numbers`` times as long along one axis, as numbers per element.

    ``axis`` is that axis of an example's shape: 0, the channels, for images, so that all numbers
    of a pixel come from the same features, and -1 for everything else.
    """

    def __init__(self, network: nn.Module, axis: int, numbers: int) -> None:
        super().__init__()
        self.network, self.axis, self.numbers = network, axis, numbers

    def forward(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows *shape numbers"]:
        axis = self.axis + 1 if self.axis >= 0 else self.axis
        return self.network(z).unflatten(axis, (-1, self.numbers)).movedim(axis + (axis > 0), -1)


def network_name(signal: Signal, network: str) -> str:
    """What ``"auto"`` stands for with that signal; any other known name as it is."""
    if network not in NETWORKS:
        raise unknown("network", network, NETWORKS)
    if network != "auto":
        return network
    return "conv" if signal.kind == "image" and min(signal.shape[1:]) >= SMALLEST_CONV else "mlp"


def _build(
    classes: Mapping[str, type[nn.Module]],
    signal: Signal,
    dim: int,
    network: str | nn.Module,
    shared: Mapping[str, Any],
    options: Mapping[str, Any],
) -> nn.Module:
    if isinstance(network, nn.Module):
        return network
    name = network_name(signal, network)
    known = list(inspect.signature(classes[name]).parameters)[2:]
    for option in options:
        if option not in known:
            raise unknown(f"option of the {name} network", option, known)
    shared_options = {
        key: value for key, value in shared.items() if value is not None and key in known
    }
    return classes[name](signal, dim, **shared_options, **options)
