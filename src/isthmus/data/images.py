"""Folders, files and lists of images, decoded row by row."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Asked, Reading, Signal, Source
from isthmus.data.pixels import (
    arranged,
    damaged,
    from_array,
    is_deep,
    largest,
    layout,
    opened,
    pillow,
    top_of,
)  # fmt: skip
from isthmus.errors import IsthmusError
from isthmus.notices import say

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
FOLDER = "folder"
"""The name of the column that says in which folder an image lies."""

__all__ = ["FOLDER", "SUFFIXES", "ImageFolder", "Images", "class_folders", "is_image"]


class Images(Source):
    """Images that are decoded whenever their row is asked for, as bytes.

    Rotated as their EXIF data say; of an animation the first frame. Grey images stay one channel,
    all others become RGB (transparency is dropped). Of more than 8 bits a pixel, the least of 8,
    10, 12, 14 or 16 bits that holds the largest value of up to 64 images, spread evenly, becomes 0
    to 255. All must have one size, and be all grey or all coloured, unless ``size`` and ``mode``
    say what they are brought to: with ``size`` an image is scaled until both sides have that size
    or more, and its middle is cut out. Another one is an error that names it. Only the headers are
    read at first. ``names`` are those of the images.
    """

    signal: Signal

    def __init__(
        self,
        count: int,
        opener: Callable[[int], "Image.Image"],
        names: Sequence[str] | None,
        said: Callable[[int], str],
        how: Reading,
    ) -> None:
        self._open, self._count, self.names, self._said = opener, count, names, said
        if how.kind not in (None, "image") or how.axis is not None:
            raise IsthmusError("images are read as images: leave kind and axis out")
        self.size, self.mode = how.size, how.mode
        self._deep: list[int] = []
        layouts = [self._layout(i) for i in range(count)]
        for i, one in enumerate(layouts):
            if one != layouts[0]:
                raise self._differ(i, one, layouts[0])
        channels, height, width = layouts[0]
        self.signal = Signal(
            "image", (channels, height, width), "uint8", 0.0, 1.0,
            channels_last=channels > 1, flat=channels == 1,
        )  # fmt: skip
        self._stored = (height, width, channels)[: 2 if channels == 1 else 3]
        self._shade = "grey" if channels == 1 else "rgb"
        self._top = self._white() if self._deep else None

    def _white(self) -> float:
        """The value that is white, of images of more than 8 bits."""
        most = 0.0
        for i in self._deep[:: -(-len(self._deep) // 64)]:
            try:
                with self._open(i) as image:
                    most = max(most, largest(image, self._said(i)))
            except (OSError, SyntaxError, EOFError) as error:
                raise damaged(self._said(i)) from error
        top = top_of(most)
        say(
            f"{len(self._deep):,} images have more than 8 bits a pixel and values up to {most:g}: "
            f"0 to {top:g} are read as 0 to 255 (pass the pixels as an array to keep all)"
        )
        return top

    def __len__(self) -> int:
        return self._count

    def rows(self, index: Tensor) -> Tensor:
        """Float32 images ``(len(index), channels, height, width)`` in [0, 1]."""
        batch = np.empty((len(index), *self._stored), np.uint8)
        for row, i in enumerate(index.tolist()):
            try:
                with self._open(i) as image:
                    pixels = arranged(image, self.size, self._shade, self._said(i), self._top)
            except (OSError, SyntaxError, EOFError, ValueError) as error:
                if isinstance(error, IsthmusError):
                    raise
                raise damaged(self._said(i)) from error
            if pixels.shape != batch[row].shape:
                raise IsthmusError(f"{self._said(i)} has changed since it was first read")
            batch[row] = pixels
        return self.signal.tensor(batch, check=False)

    def _layout(self, i: int) -> tuple[int, int, int]:
        try:
            with self._open(i) as image:
                channels, height, width = layout(image)
                frames = getattr(image, "n_frames", 1)
                if is_deep(image):
                    self._deep.append(i)
        except (OSError, SyntaxError, EOFError, ValueError) as error:
            if isinstance(error, IsthmusError):
                raise
            raise damaged(self._said(i)) from error
        if frames > 1:
            say(f"{self._said(i)} has {frames} frames, of which the first is read")
        if self.mode is not None:
            channels = 1 if self.mode == "grey" else 3
        return (channels, *(self.size or (height, width)))

    def _differ(self, i: int, one: tuple[int, int, int], first: tuple[int, int, int]) -> Exception:
        options = []
        if one[1:] != first[1:]:
            least = min(*one[1:], *first[1:])
            options.append(f"size={least} (or size=WIDTHxHEIGHT)")
        if one[0] != first[0]:
            options.append("mode=grey or mode=rgb")
        return IsthmusError(
            f"{self._said(i)} is {_said(one)}, but {self._said(0)} is {_said(first)}: add "
            f"{' and '.join(options)} to bring all images to one"
        )


class ImageFolder(Images):
    """The images below a folder, sorted by path; their names are their paths in it.

    ``folders`` says for each image in which subfolder it lies (``.`` for the folder itself): the
    column ``folder``, which can be given as a label.
    """

    def __init__(self, folder: str | Path, kind: Asked = None) -> None:
        self.folder = Path(folder)
        pillow()
        self.files = _files(self.folder)
        super().__init__(
            len(self.files),
            lambda i: opened(self.files[i]),
            [path.relative_to(self.folder).as_posix() for path in self.files],
            lambda i: repr(str(self.files[i])),
            Reading.of(kind),
        )

    @property
    def folders(self) -> list[str]:
        """The subfolder of every image."""
        return class_folders(self.folder)


def class_folders(folder: str | Path) -> list[str]:
    """In which subfolder of a folder each of its images lies, in the order of rows."""
    root = Path(folder)
    return [path.relative_to(root).parent.as_posix() for path in _files(root)]


def image_files(files: Sequence[str | Path], kind: Asked = None) -> Images:
    """Image files in the order given; their names are their paths as given."""
    paths = [Path(file).expanduser() for file in files]
    for path in paths:
        if not path.is_file():
            raise IsthmusError(f"there is no image {str(path)!r}: check the path")
    names = [str(file) for file in files]
    return Images(
        len(paths), lambda i: opened(paths[i]), names, lambda i: repr(names[i]), Reading.of(kind)
    )


def image_list(images: Sequence[Any], kind: Asked = None) -> Images:
    """PIL images, or arrays of pixels (bytes, or fractions of 1) of one or several sizes."""
    pillow()

    def caption(i: int) -> str:
        return f"image {i} of the list"

    def one(i: int) -> Any:
        image = images[i]
        return image.copy() if _is_pil(image) else from_array(image, caption(i))

    return Images(len(images), one, None, caption, Reading.of(kind))


def is_image(found: Any) -> bool:
    """Whether something is a PIL image or the path of an image."""
    if isinstance(found, (str, Path)):
        return Path(found).suffix.lower() in SUFFIXES
    return _is_pil(found)


def as_images(X: Sequence[Any], how: Reading) -> Images | None:
    """A list of images or of paths of images as a source; None for any other list.

    Arrays are images where they are asked for as such: by ``size``, ``mode``, or
    ``kind="image"`` where they differ in size.
    """
    if not X:
        return None
    if all(isinstance(one, (str, Path)) and is_image(one) for one in X):
        return image_files(X, how)
    if all(_is_pil(one) for one in X):
        return image_list(X, how)
    arrays = all(isinstance(one, (np.ndarray, Tensor)) and one.ndim in (2, 3) for one in X)
    if not arrays:
        return None
    if how.size is not None or how.mode is not None:
        return image_list(X, how)
    shapes = {tuple(one.shape) for one in X}
    bytes_ = all(one.dtype in (np.uint8, torch.uint8) for one in X)
    wide = all(min(one.shape[:2]) > 4 and one.shape[-1] in (1, 3, 4) for one in X)
    if len(shapes) > 1 and (how.kind == "image" or (how.kind is None and bytes_ and wide)):
        return image_list(X, how)
    return None


def _is_pil(value: Any) -> bool:
    return type(value).__module__.startswith("PIL.")


def _files(folder: Path) -> list[Path]:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not files and (folder / "provenance.json").exists():
        raise IsthmusError(
            f"the folder {str(folder)!r} is a store of activations: name a point of it, "
            f"store:{folder}@POINT, as isthmus harvest does at its end"
        )
    if not files:
        raise IsthmusError(
            f"the folder {str(folder)!r} holds no images: put files with the endings "
            f"{', '.join(sorted(SUFFIXES))} there"
        )
    return files


def _said(layout: tuple[int, int, int]) -> str:
    channels, height, width = layout
    return f"{'grey' if channels == 1 else 'coloured'} {width}x{height}"
