"""How the axes of an array of rows are read: what kind of examples, and where their channels are.

The rules, in order, for rows of shape ``shape`` (without the axis of rows):

- one axis: vectors;
- two axes of bytes: grey images; of other numbers grey images where they look like some
  (:func:`looks_like_images`), else series ``(steps, channels)``;
- three axes: images. The channels are first where the first axis is 1 to 4 (which is said where the
  last is, too), last where only the last is (and the middle is another number: those are small
  maps); else the two equal sides are height and width, and channels come first if that says
  nothing;
- of a recipe that reads rows of features (a dictionary), every other axis is one of positions,
  each a row of its own: two axes that do not look like images, three axes without 1 to 4 channels
  (the features are where the channels would be), and more than three (the features are last).

``kind``, ``axis`` and ``features`` of a :class:`Reading` override all of this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from torch import Tensor

from isthmus.errors import IsthmusError, unknown
from isthmus.spelling import folded

if TYPE_CHECKING:
    from isthmus.anatomy.signal import Signal

Kind = Literal["vector", "image", "tokens", "series", "set", "graph", "coordinates", "collection"]
Mode = Literal["grey", "rgb"]
Array = np.ndarray | Tensor

CHANNELS = (1, 2, 3, 4)
"""Numbers of channels that pictures have."""
_BY_RANK: dict[int, Kind] = {1: "vector", 2: "series", 3: "image"}
_LOOKED_AT = 64
_SMOOTH = 0.25
_SMALLEST_SIDE = 4


@dataclass(frozen=True)
class Reading:
    """What the user says about how data are read; what is None is found from the data.

    ``axis`` is that of the channels or features of arrays, rows counted: 1 is the first of an
    example, -1 the last. ``size`` ``(height, width)`` and ``mode`` are those of image files and
    lists of images. ``features`` says that the model reads rows of features, so that other axes
    are positions. ``parts`` are the readings of a collection's parts.
    """

    kind: Kind | None = None
    axis: int | None = None
    size: tuple[int, int] | None = None
    mode: Mode | None = None
    features: bool = False
    parts: Mapping[str, "Reading"] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: "Asked") -> "Reading":
        """A reading of a kind alone, or one already."""
        return asked if isinstance(asked, Reading) else cls(asked)

    @classmethod
    def checked(
        cls, kind: Any = None, axis: Any = None, size: Any = None, mode: Any = None
    ) -> "Reading":
        """A reading from options as the user writes them: ``size=32``, ``"32x48"``, ``(32, 48)``
        (width x height in words, height and width as numbers)."""
        if kind is not None and kind not in get_args(Kind):
            raise unknown("kind of signal", str(kind), get_args(Kind))
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int) or axis == 0):
            raise IsthmusError(
                f"axis={axis!r} is no axis of features: pass 1 (the first after the rows) to -1 "
                "(the last)"
            )
        if mode is not None:
            modes = {"grey": "grey", "l": "grey", "rgb": "rgb", "colour": "rgb"}
            if (word := folded(str(mode).lower())) not in modes:
                raise unknown("mode", str(mode), ("grey", "rgb"))
            mode = modes[word]
        return cls(kind, axis, _size(size), mode)

    @classmethod
    def as_fitted(cls, signal: "Signal") -> "Reading":
        """How a model of that signal reads data that do not say it themselves."""
        if signal.kind == "collection":
            parts = {name: cls.as_fitted(part) for name, part in signal.parts.items()}
            return cls(parts=parts)
        if signal.kind == "graph" or (signal.ragged and signal.kind != "tokens"):
            return cls()
        if signal.kind == "vector":
            return cls(None if signal.axis is None else "vector", signal.axis)
        if signal.kind != "image":
            return cls(signal.kind, signal.axis)
        usual = signal.shape[0] in CHANNELS
        return cls("image", None if usual else -1 if signal.channels_last else 1)

    def or_kind(self, kind: Kind | None) -> "Reading":
        """The same with a kind that the data have of themselves, unless another was asked for."""
        has_kind = self.kind is not None or self.axis is not None or kind is None
        return self if has_kind else replace(self, kind=kind)

    def part(self, name: str) -> "Reading":
        """The reading of a part of a collection."""
        return self.parts.get(name, Reading(self.kind, features=self.features))

    def to_dict(self) -> dict[str, Any]:
        """What was asked for, JSON-ready; :meth:`from_dict` reads it back."""
        plain: dict[str, Any] = {"kind": self.kind, "axis": self.axis, "mode": self.mode}
        plain["size"] = None if self.size is None else list(self.size)
        plain["features"] = self.features or None
        return {name: value for name, value in plain.items() if value is not None}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Reading":
        """Read what :meth:`to_dict` wrote."""
        size = plain.get("size")
        return cls(
            plain.get("kind"),
            plain.get("axis"),
            None if size is None else (size[0], size[1]),
            plain.get("mode"),
            plain.get("features", False),
        )


Asked = Kind | Reading | None
"""How data are to be read: as a kind, in more detail, or as they look."""


class Axes(NamedTuple):
    """What the axes of rows are. ``shape`` is that of an example as a model has it.

    ``axis`` is that of the features of raw arrays where that is not the last, and of rows with
    positions always; ``flat`` images have no axis of channels. ``said`` tells what was not certain.
    """

    kind: Kind
    shape: tuple[int, ...]
    channels_last: bool = False
    flat: bool = False
    axis: int | None = None
    said: str = ""


def axes_of(rows: Array, dtype: str, how: Reading) -> Axes:
    """Read the axes of an array; see the top of this module."""
    shape, kind = tuple(int(n) for n in rows.shape[1:]), how.kind
    axis = _axis(how.axis, rows.ndim)
    if how.features and kind in (None, "vector") and len(shape) > 1:
        axes = _positions(rows, shape, dtype, axis, explicit=kind == "vector")
        if axes is not None:
            return axes
    if kind == "vector" and axis is not None and len(shape) > 1:
        return _spread(shape, axis, sentence="")
    if len(shape) == 2 and kind in (None, "image", "series"):
        return _two(rows, shape, dtype, kind, axis)
    guess = kind or _BY_RANK.get(len(shape))
    if guess is None:
        raise IsthmusError(
            f"rows of shape {shape} fit no kind of signal: pass rows of one axis (vectors), "
            "two (series) or three (images)"
        )
    if guess not in get_args(Kind):
        raise unknown("kind of signal", guess, get_args(Kind))
    if guess != "image":
        return Axes(guess, shape)
    if len(shape) != 3:
        raise IsthmusError(
            f"rows of shape {shape} are no images: give them two axes (height, width) or three"
        )
    return _image(shape, axis)


def looks_like_images(rows: Array) -> bool:
    """Whether rows of two axes are likelier grey images than series.

    They are where both sides have 4 entries or more and differ by a factor of two at most, no
    value is negative (or none below -1 and some there, and none above 1), and neighbours resemble
    one another along both axes: within the rows their correlation is above 0.25 (of features in no
    order it is about 0). 64 rows, spread evenly, are looked at.
    """
    height, width = (int(n) for n in rows.shape[1:])
    small, large = min(height, width), max(height, width)
    if len(rows) == 0 or small < _SMALLEST_SIDE or large > 2 * small:
        return False
    spread = range(0, len(rows), -(-len(rows) // _LOOKED_AT))
    picked = [rows[i] for i in spread]
    x = np.stack(
        [p.detach().cpu().double().numpy() if isinstance(p, Tensor) else p for p in picked]
    ).astype(np.float64)
    x = np.where(np.isfinite(x), x, 0.0)
    least, most = float(x.min()), float(x.max())
    if least < 0 and not (-1.0 - 1e-6 <= least <= -0.99 and most <= 1.0 + 1e-6):
        return False
    x = x / max(abs(least), abs(most), 1e-300)
    x = x - x.mean((1, 2), keepdims=True)
    energy = np.square(x).mean()
    if not energy > 0:
        return False
    down, across = (x[:, 1:] * x[:, :-1]).mean(), (x[:, :, 1:] * x[:, :, :-1]).mean()
    return bool(min(down, across) > _SMOOTH * energy)


def spread_out(rows: Array, axis: int) -> Array:
    """Rows of features ``(positions, features)`` of an array whose features lie along ``axis``."""
    if axis in (-1, rows.ndim - 1):
        return rows.reshape(-1, rows.shape[-1])
    if isinstance(rows, Tensor):
        return rows.movedim(axis, -1).reshape(-1, rows.shape[axis])
    return np.moveaxis(rows, axis, -1).reshape(-1, rows.shape[axis])


def _axis(axis: int | None, rank: int) -> int | None:
    """The axis counted from the front."""
    if axis is None:
        return None
    place = axis + rank if axis < 0 else axis
    if not 1 <= place < rank:
        raise IsthmusError(
            f"axis={axis} is no axis of features of an array of {rank} axes: pass 1 to {rank - 1}, "
            "or -1 for the last"
        )
    return place


def _positions(
    rows: Array, shape: tuple[int, ...], dtype: str, axis: int | None, *, explicit: bool
) -> Axes | None:
    """The reading as rows of features with positions; None where these are images."""
    if axis is not None:
        return _spread(shape, axis, sentence="")
    if len(shape) == 2:
        images = dtype in ("uint8", "bool") or looks_like_images(rows)
        if images and not explicit:
            return None
        axis, other = 2, "kind=series takes each array as a whole"
    elif len(shape) == 3:
        if not explicit and (
            dtype == "uint8" or _begins_with_channels(shape) or _ends_in_channels(shape)
        ):
            return None
        last = shape[0] == shape[1] != shape[2]
        axis = 3 if last else 1
        other = "kind=image takes each array as a whole, axis= says where the features are"
    else:
        axis, other = len(shape), "axis= says where the features are"
    return _spread(shape, axis, sentence=other)


def _spread(shape: tuple[int, ...], axis: int, sentence: str) -> Axes:
    wide, last = shape[axis - 1], axis == len(shape)
    if sentence:
        where = "the last axis" if last else f"axis {axis}"
        places = " x ".join(str(n) for i, n in enumerate(shape) if i != axis - 1)
        sentence = (
            f"arrays of shape (rows, {', '.join(map(str, shape))}) are read as rows of {wide} "
            f"features along {where}, {places} of them each ({sentence})"
        )
    return Axes("vector", (wide,), axis=-1 if last else axis, said=sentence)


def _two(
    rows: Array, shape: tuple[int, ...], dtype: str, kind: Kind | None, axis: int | None
) -> Axes:
    """Rows of two axes: grey images, or series."""
    height, width = shape
    if kind == "image" or (kind is None and axis is None and dtype == "uint8"):
        return Axes("image", (1, height, width), flat=True)
    if axis == 1:
        return Axes("series", (width, height), axis=1)
    if kind is None and axis is None:
        if looks_like_images(rows):
            sentence = (
                f"rows of shape ({height}, {width}) are read as grey images, since neighbouring "
                "values resemble one another along both axes (kind=series reads them as steps and "
                "channels)"
            )
            return Axes("image", (1, height, width), flat=True, said=sentence)
        close = min(height, width) >= 2 * _SMALLEST_SIDE and max(height, width) <= 2 * min(shape)
        if close or height < width:  # steps are mostly more than channels
            images = "kind=image reads them as grey images, " if close else ""
            sentence = (
                f"rows of shape ({height}, {width}) are read as series of {height} steps of "
                f"{width} channels ({images}axis=1 has the channels first)"
            )
            return Axes("series", shape, said=sentence)
    return Axes("series", shape)


def _image(shape: tuple[int, ...], axis: int | None) -> Axes:
    """Rows of three axes as images."""
    first, second, third = shape
    if axis == 2:
        raise IsthmusError("axis=2 lies between height and width: the channels are axis=1 or -1")
    last, sentence = axis == 3, ""
    if axis is None:
        begins, ends = _begins_with_channels(shape), _ends_in_channels(shape)
        last = ends and not begins if begins or ends else first == second != third
        if begins == ends and shape != (1, 1, 1):
            count, where = (third, "last") if last else (first, "first")
            sentence = (
                f"rows of shape {shape} are read as images of {count} channels, which come {where} "
                f"(axis={1 if last else -1} reads the other axis as channels)"
            )
    if last:
        return Axes("image", (third, first, second), channels_last=True, said=sentence)
    return Axes("image", shape, said=sentence)


def _begins_with_channels(shape: tuple[int, ...]) -> bool:
    """Whether the first axis looks like one of channels: of small maps it may be a side."""
    sides = shape[0] == shape[1] != shape[2] and shape[0] > 1
    return shape[0] in CHANNELS and (not sides or shape[2] in CHANNELS)


def _ends_in_channels(shape: tuple[int, ...]) -> bool:
    """Whether the last axis looks like one of channels: of small maps both sides may be small."""
    return shape[2] in CHANNELS and (shape[1] != shape[2] or shape[0] == shape[1])


def _size(size: Any) -> tuple[int, int] | None:
    """Height and width, of ``32``, ``"32x48"`` (width x height) or ``(height, width)``."""
    if size is None:
        return None
    wrong = IsthmusError(
        f"size={size!r} is no size of images: write size=32, or size=48x32 for 48 wide and 32 high"
    )
    if isinstance(size, str):
        width, times, height = size.lower().partition("x")
        if not width.strip().isdigit() or (times and not height.strip().isdigit()):
            raise wrong
        size = (int(height), int(width)) if times else int(width)
    if isinstance(size, int) and not isinstance(size, bool):
        size = (size, size)
    try:
        tall, wide = (int(n) for n in size)
    except (TypeError, ValueError):
        raise wrong from None
    if tall < 1 or wide < 1:
        raise wrong
    return tall, wide
