"""Folders of images, decoded row by row."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from isthmus.anatomy import Signal, Source
from isthmus.errors import IsthmusError, MissingExtra

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_GREY = frozenset({"1", "L", "LA"})
_COLOUR = frozenset({"P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "PA", "RGBX"})


class ImageFolder(Source):
    """The images below a folder, sorted by path, as bytes.

    Grey images stay one channel, all others become RGB (transparency is dropped). All must have
    one size, and be all grey or all coloured; another one is an error that names it. Only the
    headers are read at first; an image is decoded whenever its row is asked for.
    """

    signal: Signal

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        _pillow()
        self.files = sorted(
            path
            for path in self.folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
        if not self.files:
            raise IsthmusError(
                f"the folder {str(self.folder)!r} holds no images: put files with the endings "
                f"{', '.join(sorted(SUFFIXES))} there"
            )
        layouts = [_layout(path) for path in self.files]
        for path, layout in zip(self.files, layouts, strict=True):
            if layout != layouts[0]:
                raise IsthmusError(
                    f"{str(path)!r} is {_said(layout)}, but {str(self.files[0])!r} is "
                    f"{_said(layouts[0])}: bring all images to one size and mode, or remove it"
                )
        channels, height, width = layouts[0]
        self.signal = Signal("image", layouts[0], "uint8", 0.0, 1.0, channels_last=channels > 1)
        self._stored = (height, width, channels)[: 2 if channels == 1 else 3]

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, index: Tensor) -> Tensor:
        """Float32 images ``(len(index), channels, height, width)`` in [0, 1]."""
        batch = np.empty((len(index), *self._stored), np.uint8)
        for row, i in enumerate(index.tolist()):
            batch[row] = _decoded(self.files[i])
        return self.signal.tensor(batch, check=False)


def pixels(image: "Image.Image", name: str) -> np.ndarray:
    """A PIL image as bytes ``(height, width)`` or ``(height, width, 3)``."""
    if image.mode in _GREY:
        return np.asarray(image.convert("L"))
    if image.mode not in _COLOUR:
        raise IsthmusError(
            f"{name} has the mode {image.mode!r}, which holds more than bytes: convert it to "
            "8-bit grey or RGB first"
        )
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _decoded(path: Path) -> np.ndarray:
    try:
        with _pillow().open(path) as image:
            return pixels(image, repr(str(path)))
    except (OSError, SyntaxError, EOFError) as error:
        raise _damaged(path) from error


def _layout(path: Path) -> tuple[int, int, int]:
    """``(channels, height, width)`` from the header."""
    try:
        with _pillow().open(path) as image:
            width, height = image.size
            return (1 if image.mode in _GREY else 3, height, width)
    except (OSError, SyntaxError, EOFError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> IsthmusError:
    return IsthmusError(f"{str(path)!r} is damaged or not an image: replace or remove it")


def _said(layout: tuple[int, int, int]) -> str:
    channels, height, width = layout
    return f"{'grey' if channels == 1 else 'coloured'} {width}x{height}"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("pillow", "images", "reading images") from error
    return Image
