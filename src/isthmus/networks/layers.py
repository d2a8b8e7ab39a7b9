"""The small choices that every network shares: activation and normalisation by name."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from torch import nn

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError, unknown

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}

NORMS = ("batch", "layer")


def activation_layer(name: str) -> nn.Module:
    """The activation of that name (see ``ACTIVATIONS``); a misspelt name is an error."""
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


def norm_layer(norm: str | None, width: int, *, spatial: bool = False) -> nn.Module | None:
    """Normalisation of ``width`` features (channels, where ``spatial``), or None for none.

    ``"batch"`` is Ioffe and Szegedy (2015). ``"layer"`` is Ba et al. (2016): over the features of
    one example; for images over channels and places together.
    """
    if norm is None:
        return None
    if norm not in NORMS:
        raise unknown("normalisation", norm, NORMS)
    if norm == "batch":
        return nn.BatchNorm2d(width) if spatial else nn.BatchNorm1d(width)
    return nn.GroupNorm(1, width) if spatial else nn.LayerNorm(width)


def after(layer: nn.Module, *rest: nn.Module | None) -> list[nn.Module]:
    """A layer and what follows it, with what is absent or does nothing left out."""
    return [layer, *(m for m in rest if m is not None and not isinstance(m, nn.Identity))]


def sizes(name: str, values: Iterable[int], *, least: int = 0) -> tuple[int, ...]:
    """Layer sizes as a tuple of positive integers, ``least`` of them at least."""
    checked = tuple(values)
    if len(checked) < least or any(not isinstance(n, int) or n < 1 for n in checked):
        raise IsthmusError(
            f"{name}={checked} must list at least {least} positive whole numbers, one for each "
            "layer"
        )
    return checked


def plain(signal: Signal) -> Signal:
    """The signal itself, if one tensor holds it; otherwise an error."""
    if signal.kind in ("collection", "graph") or not signal.shape:
        raise IsthmusError(
            f"no network reads a signal of kind {signal.kind!r} as a whole: build one for each "
            "of its parts"
        )
    return signal


def image_shape(signal: Signal, network: str) -> tuple[int, int, int]:
    """``(channels, height, width)`` of an image signal; an error for any other."""
    if signal.kind != "image":
        raise IsthmusError(
            f'a {network} network reads images, and this signal is a {signal}: use network="mlp"'
        )
    channels, height, width = signal.shape
    return channels, height, width


def dense_stack(
    widths: Sequence[int], activation: str, norm: str | None, dropout: float = 0.0
) -> list[nn.Module]:
    """Linear, norm, activation and dropout between each two consecutive ``widths``."""
    layers: list[nn.Module] = []
    for before, width in pairwise(widths):
        # A bias before batch normalisation is subtracted again: it would never be trained.
        linear = nn.Linear(before, width, bias=norm != "batch")
        drop = nn.Dropout(dropout) if dropout else None
        layers += after(linear, norm_layer(norm, width), activation_layer(activation), drop)
    return layers
