"""Arrays of positions for models of vectors: ``(batch, position, features)`` and the like.

A dictionary reads one row of features at a time, whatever other axes an array of activations has.
Where its data have more axes than two, all but that of the features count rows, and what comes out
has these axes again: ``(batch, position, latents)`` for ``(batch, position, features)``,
``(batch, latents, height, width)`` for maps whose channels come first, a list for a list of
arrays.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy.axes import spread_out
from isthmus.anatomy.dictionary import LinearDecoder, parts_of
from isthmus.anatomy.ragged import Ragged
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder


@dataclass(frozen=True)
class Spread:
    """The other axes of what a model was given; ``axis`` is None where there are none."""

    given: Any
    axis: int | None = None

    @classmethod
    def of(cls, model: "Autoencoder", X: Any) -> "Spread":
        """Those of ``X``, where the model reads positions."""
        axis = _axis_of(model, X)
        return cls(_first(X) if axis is not None and isinstance(X, Mapping) else X, axis)

    def each(self, values: Any, made: Callable[[Any, Any], Any], *, wide: bool = True) -> Any:
        """``made(given, values)`` with the axes of what was given; of a list, of each array.

        ``wide`` values have one entry a feature or latent, along the axis of the features, others
        one a position.
        """
        if self.axis is None:
            return made(self.given, values)
        if isinstance(values, Mapping):
            return {name: self.each(part, made, wide=wide) for name, part in values.items()}
        if not isinstance(values, Tensor):
            return made(self.given, values)
        if not isinstance(self.given, (list, tuple)):
            return made(self.given, _axes(values, self.given, self.axis, wide))
        counts = [_count(one, self.axis) for one in self.given]
        parts = values.split(counts)
        return [
            made(one, _axes(part, one, self.axis, wide))
            for one, part in zip(self.given, parts, strict=True)
        ]


def flattened(model: "Autoencoder", X: Any, mask: Any = None) -> tuple[Any, Any]:
    """``X`` as rows of features where it has positions, with its mask; else both as they are."""
    axis = _axis_of(model, X)
    if axis is None:
        return X, mask
    if mask is not None:
        raise IsthmusError(
            "a mask of positions is not read here: pass the positions that are there as rows, "
            "X[mask]"
        )
    if isinstance(X, Mapping):
        return {name: spread_out(part, axis) for name, part in X.items()}, None
    if not isinstance(X, (list, tuple)):
        return spread_out(X, axis), None
    parts = [spread_out(one, axis) for one in X]
    tensors = all(isinstance(part, Tensor) for part in parts)
    return (torch.cat(parts) if tensors else np.concatenate(parts)), None  # type: ignore[arg-type]


def reads_positions(model: "Autoencoder") -> bool:
    """Whether a model takes every position of an array as a row."""
    signal = model.signal
    if signal.kind == "collection":
        plain = all(
            part.kind == "vector" and len(part.shape) == 1 for part in signal.parts.values()
        )
        return plain and all(isinstance(part, LinearDecoder) for part in parts_of(model.decoder))
    if signal.kind != "vector":
        return False
    return signal.axis is not None or isinstance(model.decoder, LinearDecoder)


def _axis_of(model: "Autoencoder", X: Any) -> int | None:
    """The axis of the features of ``X``; None where it is one of rows, or the model's own."""
    listed = isinstance(X, (list, tuple))
    if isinstance(X, Mapping):
        return -1 if _of_positions(model, X) else None
    if model.signal.kind != "vector" or len(model.signal.shape) != 1:
        return None
    if not listed and not reads_positions(model):
        return None
    arrays, least = (X, 2) if listed else ([X], 3)
    if not len(arrays) or not all(
        isinstance(one, (np.ndarray, Tensor)) and one.ndim >= least for one in arrays
    ):
        return None
    axis = -1 if model.signal.axis is None else model.signal.axis
    (width,) = model.signal.shape
    for one in arrays:
        place = axis if axis == -1 or axis < one.ndim else -1
        if one.shape[place] != width:
            raise IsthmusError(
                f"data of shape {tuple(one.shape)} do not fit: this model reads rows of {width} "
                f"features, here along axis {place}; X has {one.shape[place]} features, but it is "
                f"expecting {width} features as input"
            )
    return axis


def _of_positions(model: "Autoencoder", X: Mapping[str, Any]) -> bool:
    """Whether each part of a collection has the same axes of positions before its features."""
    parts = model.signal.parts
    if not X or {*X} != {*parts} or not reads_positions(model):
        return False
    arrays = [*X.values()]
    if not all(isinstance(one, (np.ndarray, Tensor)) and one.ndim > 2 for one in arrays):
        return False
    alike = {tuple(one.shape[:-1]) for one in arrays}
    return len(alike) == 1 and all(X[name].shape[-1:] == parts[name].shape for name in parts)


def _first(X: Mapping[str, Any]) -> Any:
    return next(iter(X.values()))


def _count(one: Any, axis: int) -> int:
    return int(np.prod(one.shape)) // int(one.shape[axis])


def _axes(values: Tensor, original: Any, axis: int, wide: bool) -> Tensor:
    if isinstance(values, Ragged):
        return values
    axis = axis % original.ndim
    others = [int(n) for place, n in enumerate(original.shape) if place != axis]
    x = values.unflatten(0, others)
    return x.movedim(-1, axis).contiguous() if wide else x
