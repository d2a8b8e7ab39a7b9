"""Lists: of rows, of images or their paths, of texts, or of batches collected in a loop."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Reading, Source
from isthmus.anatomy.axes import CHANNELS, axes_of, looks_like_images, spread_out
from isthmus.anatomy.signal import dtype_name
from isthmus.data.images import as_images
from isthmus.data.ragged import RaggedSource, is_ragged
from isthmus.data.sources import ArraySource
from isthmus.errors import IsthmusError
from isthmus.notices import say


def list_source(X: Sequence[Any], how: Reading) -> Source:
    """A source over a list.

    Of images, of paths of images, of texts, of rows (arrays or numbers) of one shape or of
    different lengths; and of batches, which are joined (:func:`joined`).
    """
    images = as_images(X, how)
    if images is not None:
        return images
    whole = joined(X, how)
    if whole is not None:
        return ArraySource(whole, how)
    if is_ragged(X):
        return RaggedSource(X, how)
    return ArraySource(_stacked(X), how)


def joined(X: Sequence[Any], how: Reading) -> Array | None:
    """Batches of a list one after another, said in one line; None where these are no batches.

    They are where a model of rows of features reads arrays of two axes or more; where arrays have
    four axes or more; and where tensors of two or three axes (no images) have one shape, or a
    shorter last one, and are fewer than each has rows. Of pairs ``(X, y)`` the first are taken.
    """
    if not X or how.kind in ("series", "set", "tokens", "graph"):
        return None
    pairs = all(isinstance(one, (tuple, list)) and one and _is_array(one[0]) for one in X)
    arrays = [one[0] for one in X] if pairs else list(X)
    if not all(_is_array(one) and one.ndim >= 2 for one in arrays):
        return None
    if pairs and not all(np.shape(part)[:1] == one[0].shape[:1] for one in X for part in one[1:]):
        return None
    rank = arrays[0].ndim
    if any(one.ndim != rank for one in arrays) or (how.features and how.kind == "image"):
        return None
    if not (how.features and _features(arrays, how)):
        if rank < 4 and not (pairs or _collected(arrays)):
            return None
        if len({tuple(one.shape[1:]) for one in arrays}) > 1:
            return None
    else:
        arrays = _spread(arrays, how)
    tensors = all(isinstance(one, Tensor) for one in arrays)
    whole = torch.cat(arrays) if tensors else np.concatenate([_plain(one) for one in arrays])
    aside = ", the first of each pair" if pairs else ""
    say(
        f"{len(X):,} arrays of a list{aside} are read as batches and joined: {len(whole):,} rows "
        f"of shape {tuple(whole.shape[1:])} (kind=series reads each array as one row)"
    )
    return whole


def _features(arrays: Sequence[Array], how: Reading) -> bool:
    """Whether all of these are rows of features of one width, and no pictures."""
    if arrays[0].ndim == 2:
        same = len({tuple(one.shape) for one in arrays}) == 1
        pictures = same and looks_like_images(np.stack([_plain(one) for one in arrays[:64]]))
        bytes_ = dtype_name(arrays[0]) == "uint8"
        return len({one.shape[1] for one in arrays}) == 1 and not pictures and not bytes_
    axes = axes_of(arrays[0], dtype_name(arrays[0]), how)
    if axes.kind != "vector" or axes.axis is None:
        return False
    return len({one.shape[axes.axis] for one in arrays}) == 1


def _spread(arrays: Sequence[Array], how: Reading) -> list[Any]:
    if arrays[0].ndim == 2:
        return list(arrays)
    axis = axes_of(arrays[0], dtype_name(arrays[0]), how).axis
    return [spread_out(one, -1 if axis is None else axis) for one in arrays]


def _collected(arrays: Sequence[Array]) -> bool:
    """Whether tensors look like batches that were collected in a loop."""
    first, *others = arrays
    if not all(isinstance(one, Tensor) for one in arrays) or not others:
        return False
    *middle, last = others
    if any(one.shape != first.shape for one in middle) or last.shape[1:] != first.shape[1:]:
        return False
    if len(last) > len(first) or len(arrays) >= len(first):
        return False
    if first.ndim == 3:
        return first.shape[0] not in CHANNELS and first.shape[-1] not in CHANNELS
    if dtype_name(first) == "uint8":
        return False
    return last.shape != first.shape or not looks_like_images(torch.stack(list(arrays[:64])))  # type: ignore[arg-type]


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Tensor))


def _plain(array: Array) -> np.ndarray:
    return array.detach().cpu().numpy() if isinstance(array, Tensor) else array


def _stacked(rows: Any) -> np.ndarray | Tensor:
    if rows and all(isinstance(row, Tensor) for row in rows):
        try:
            return torch.stack(list(rows))
        except RuntimeError as error:
            raise _differ() from error
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise _differ() from error


def _differ() -> IsthmusError:
    return IsthmusError("the rows of the list differ in shape: give all rows one shape")
