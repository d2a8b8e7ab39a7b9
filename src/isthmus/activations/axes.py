"""Which axis of an activation holds the features: found from the module, or asked for."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import batchnorm, conv, instancenorm, pooling

from isthmus.activations.points import Point
from isthmus.errors import IsthmusError, unknown
from isthmus.notices import say

Axis = int | Mapping[str, int] | None
"""An axis of all points, or by their names; counted with the axis of rows, or from the end."""

_FIRST = (
    conv._ConvNd, batchnorm._NormBase, instancenorm._InstanceNorm, nn.GroupNorm,
    nn.LocalResponseNorm, nn.PixelShuffle, nn.PixelUnshuffle, nn.Upsample, nn.Dropout1d,
    nn.Dropout2d, nn.Dropout3d,
    *(kind for name, kind in vars(pooling).items() if isinstance(kind, type)
      and issubclass(kind, nn.Module) and "Pool" in name),
)  # fmt: skip
_LAST = (
    nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.EmbeddingBag, nn.RNNBase,
    nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer,
    nn.TransformerEncoder, nn.TransformerDecoder,
)  # fmt: skip


def axis_of_kind(module: nn.Module) -> int | None:
    """1 for what works on channels first, -1 for what works on the last axis; None for others."""
    layout = getattr(module, "data_format", None)
    if layout in ("channels_first", "channels_last"):
        return 1 if layout == "channels_first" else -1
    name = type(module).__name__
    if name in ("LayerNorm2d", "LayerNormChannelsFirst"):  # these are called on maps
        return 1
    if isinstance(module, _FIRST):
        return 1
    if isinstance(module, _LAST) or name.endswith("RMSNorm") or name == "Conv1D":
        return -1
    return None


@dataclass
class Made:
    """What a module put out: its path, shape, and the axis of its features where that is known."""

    path: str
    shape: tuple[int, ...]
    axis: int | None


@contextlib.contextmanager
def outputs(model: nn.Module) -> Iterator[list[Made]]:
    """The outputs of all modules without children that run meanwhile, in order."""
    shapes: list[Made] = []

    def keep(path: str, axis: int | None, result: object) -> None:
        output = result[0] if isinstance(result, tuple) and result else result
        if isinstance(output, Tensor):
            shapes.append(Made(path, tuple(output.shape), axis))

    def hook(path: str, axis: int | None) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _, __, result: keep(path, axis, result)

    handles = [
        module.register_forward_hook(hook(path, axis_of_kind(module)))
        for path, module in model.named_modules()
        if next(module.children(), None) is None
    ]
    try:
        yield shapes
    finally:
        for handle in handles:
            handle.remove()


def asked_axis(
    axis: Axis, point: str, shape: tuple[int, ...], known: tuple[str, ...]
) -> int | None:
    """The axis that is asked for at a point, from 1 on; None where none is."""
    if isinstance(axis, Mapping):
        for name in axis:
            if name not in known:
                raise unknown("point of axis=", name, known)
        axis = axis.get(point)
    if axis is None:
        return None
    place = axis + len(shape) if axis < 0 else axis
    if not 1 <= place < len(shape):
        raise IsthmusError(
            f"axis={axis} is no axis of features of {point!r}, whose activations have the shape "
            f"{shape} with the rows first: use one from 1 to {len(shape) - 1}, or -1 for the last"
        )
    return place


def feature_axis(place: Point, shape: tuple[int, ...], made: list[Made]) -> int:
    """The axis of the features of a tensor of three axes or more, rows first.

    It is that of the module itself, of the last module before with the same shape, or the one as
    long as the features of what it is made of. Else, and then this is said, the last of three axes
    (positions), and the second of more (maps).
    """
    axis = axis_of_kind(place.module)
    if axis is not None:
        return axis % len(shape)
    inside = "" if place.name.partition(":")[0] == "." else place.name.partition(":")[0] + "."
    earlier = [one for one in made if one.axis is not None and len(one.shape) > 1]
    within = [one for one in earlier if one.path.startswith(inside)]
    for one in (*reversed(within), *reversed(earlier)):
        if one.shape == shape:
            return one.axis % len(shape)  # type: ignore[operator]
    for one in (*reversed(within), *reversed(earlier)):
        width = one.shape[one.axis]  # type: ignore[index]
        fitting = [a for a in range(1, len(shape)) if shape[a] == width]
        if len(fitting) == 1:
            _told(place.name, shape, fitting[0], f"as many as {one.path or 'the model'!r} puts out")
            return fitting[0]
    usual = len(shape) - 1 if len(shape) == 3 else 1
    _told(place.name, shape, usual, "as usual for as many axes")
    return usual


def _told(point: str, shape: tuple[int, ...], axis: int, why: str) -> None:
    say(
        f"the activations at {point!r} have the shape {shape}: axis {axis} is taken for that of "
        f"the {shape[axis]} features ({why}; axis= says otherwise)"
    )
