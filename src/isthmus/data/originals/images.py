"""Images: the idx files of MNIST and its kin, rows of pixels, drawings in a zip archive."""

import io
import re
from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.data.originals.published_files import Originals
from isthmus.errors import MissingExtra

_IDX = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def idx(
    files: Originals, members: Mapping[str, str], first: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """Arrays in the idx format by the members' names; of some only the ``first`` so many rows."""
    arrays = {name: idx_array(files.content(file)) for name, file in members.items()}
    return {name: array[: (first or {}).get(name)] for name, array in arrays.items()}


def idx_array(content: bytes) -> np.ndarray:
    """The array of an unpacked idx file: two zeros, the type, the number of axes, their lengths."""
    zeros, kind, axes = content[:2], content[2], content[3]
    if zeros != b"\0\0" or kind not in _IDX:
        raise ValueError("no idx file")
    shape = np.frombuffer(content, ">u4", axes, 4).tolist()
    values = np.frombuffer(content, _IDX[kind], offset=4 + 4 * axes).reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))


def pixel_rows(
    files: Originals,
    labels: str,
    shape: Sequence[int],
    train: Sequence[str],
    test: Sequence[str],
    start: Mapping[str, int],
    each: Mapping[str, int],
) -> dict[str, np.ndarray]:
    """Images that are the rows of larger ones, and labels listed in a script.

    ``shape`` is that of one image, ``(height, width, channels)``; ``start`` the place in the list
    of labels at which each part begins. Of each class the first so many are taken, in order.
    """
    classes = np.array(re.findall(r"\d+", files.text(labels).partition("=")[2]), np.uint8)
    arrays: dict[str, np.ndarray] = {}
    for part, names in (("train", train), ("test", test)):
        rows = np.concatenate([_picture(files.content(name)) for name in names])
        x = rows[..., : shape[-1]].reshape(-1, *shape)
        y = classes[start[part] : start[part] + len(x)]
        groups = [np.flatnonzero(y == label)[: each[part]] for label in np.unique(y)]
        index = np.sort(np.concatenate(groups))
        arrays |= {f"x_{part}": x[index], f"y_{part}": y[index]}
    return arrays


def drawings(files: Originals, size: int) -> dict[str, np.ndarray]:
    """Black drawings ``alphabet/character/drawing_drawer.png``, shrunk by boxes, ink bright."""
    pictures = {
        tuple(name.split("/")[-3:]): content for name, content in files.members(".png").items()
    }
    alphabets = sorted({alphabet for alphabet, _, _ in pictures})
    characters = sorted({(alphabet, character) for alphabet, character, _ in pictures})
    return {
        "x": np.stack([np.uint8(255) - _picture(c, size) for c in pictures.values()]),
        "alphabet": np.array([alphabets.index(a) for a, _, _ in pictures], np.uint8),
        "character": np.array([characters.index((a, c)) for a, c, _ in pictures], np.uint8),
        "drawer": np.array([int(d[:-4].split("_")[1]) for _, _, d in pictures], np.uint8),
        "alphabet_names": np.array(alphabets),
    }


def _picture(content: bytes, size: int | None = None) -> np.ndarray:
    """The pixels; with a ``size`` in grey, as a square of that many."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("pillow", "images", "making this data set of its pictures") from error
    with Image.open(io.BytesIO(content)) as picture:
        if size is None:
            return np.asarray(picture)
        return np.asarray(picture.convert("L").resize((size, size), Image.Resampling.BOX))
