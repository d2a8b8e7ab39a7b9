"""Pictures as arrays of bytes: rotated, in one mode, at one size."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from isthmus.errors import IsthmusError, MissingExtra

if TYPE_CHECKING:
    from PIL import Image

_GREY = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
_COLOUR = frozenset({"P", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "PA", "RGBX"})
_TURNED = (5, 6, 7, 8)
"""Orientations of EXIF that swap height and width."""
_ORIENTATION = 0x0112


def pillow() -> Any:
    """The module ``PIL.Image``; an error with what to install where it is missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("pillow", "images", "reading images") from error
    return Image


def opened(path: Path) -> "Image.Image":
    """An open image file; its pixels are not read yet."""
    image: Image.Image = pillow().open(path)
    return image


def damaged(name: str) -> IsthmusError:
    """What to say of a file that is no image, or only half of one."""
    return IsthmusError(f"{name} is damaged or not an image: replace or remove it")


def layout(image: "Image.Image") -> tuple[int, int, int]:
    """``(channels, height, width)`` from the header, as the picture is to be seen."""
    width, height = image.size
    # Of a PNG without it in its header the question alone would decode the whole file.
    may_turn = "exif" in image.info or image.format != "PNG"
    if may_turn and image.getexif().get(_ORIENTATION) in _TURNED:
        width, height = height, width
    return (1 if image.mode in _GREY else 3, height, width)


def pixels(image: "Image.Image", name: str) -> np.ndarray:
    """A PIL image as bytes ``(height, width)`` or ``(height, width, 3)``, rotated as it says."""
    grey = image.mode in _GREY
    return arranged(image, None, "grey" if grey else "rgb", name)


def arranged(
    image: "Image.Image",
    size: tuple[int, int] | None,
    mode: str,
    name: str,
    top: float | None = None,
) -> np.ndarray:
    """A picture as bytes in a mode (``grey`` or ``rgb``) and, if any, at a size.

    ``top`` is the value that is white, of more than 8 bits. ``size`` ``(height, width)``: scaled
    until both sides have it or more, keeping proportions, and the middle cut out.
    """
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    image = _bytes(image, name, top)
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    image = image.convert("L" if mode == "grey" else "RGB")
    if size is not None and image.size != size[::-1]:
        image = ImageOps.fit(image, size[::-1], method=pillow().Resampling.BILINEAR)
    return np.asarray(image)


def from_array(pixels: Any, name: str) -> "Image.Image":
    """A picture of an array of pixels: bytes, or fractions of 1; channels first or last.

    Other numbers are an :class:`IsthmusError`.
    """
    array = pixels.detach().cpu().numpy() if isinstance(pixels, Tensor) else np.asarray(pixels)
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        raise IsthmusError(f"{name} has {array.shape[2]} channels: images have 1, 3 or 4")
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise IsthmusError(
                f"{name} has values from {np.nanmin(array):g} to {np.nanmax(array):g}: pass bytes, "
                "or fractions of 1"
            )
        array = np.round(array * 255.0)
    elif array.dtype.kind not in "biu" or array.min() < 0 or array.max() > 255:
        raise IsthmusError(f"{name} is {array.dtype} beyond bytes: pass bytes, or fractions of 1")
    if array.dtype.kind == "b":
        array = array * 255
    picture: Image.Image = pillow().fromarray(np.ascontiguousarray(array, dtype=np.uint8))
    return picture


def is_deep(image: "Image.Image") -> bool:
    """Whether a picture has more than 8 bits a pixel."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def largest(image: "Image.Image", name: str) -> float:
    """The largest value of a picture of more than 8 bits; an error for one of more than 16."""
    array = np.asarray(image)
    low, high = float(array.min()), float(array.max())
    if not 0 <= low <= high <= 65535:
        raise IsthmusError(
            f"{name} has values from {low:g} to {high:g}, which are not 16 bits: convert it to "
            "8-bit grey or RGB first, or pass the pixels as an array"
        )
    return high


def top_of(high: float) -> float:
    """The value that is white, of pictures whose largest value is ``high``."""
    return next(float(top) for top in (1, 255, 1023, 4095, 16383, 65535) if high <= top)


def _bytes(image: "Image.Image", name: str, top: float | None) -> "Image.Image":
    """More than 8 bits as 8, of which 255 is ``top``; other images as they are."""
    if image.mode not in _GREY and image.mode not in _COLOUR:
        raise IsthmusError(f"{name} has the mode {image.mode!r}: convert it to grey or RGB first")
    if not is_deep(image):
        return image
    high = largest(image, name)
    array = np.asarray(image).astype(np.float64) * (255.0 / (top or top_of(high)))
    picture: Image.Image = pillow().fromarray(array.round().clip(0, 255).astype(np.uint8))
    return picture
