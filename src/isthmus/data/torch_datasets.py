"""Map-style torch data sets as sources."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from isthmus.anatomy import Array, Asked, Signal, Source
from isthmus.anatomy.signal import dtype_name
from isthmus.errors import IsthmusError

_LOOKED_AT = 16


class DatasetSource(Source):
    """Rows of a map-style ``torch.utils.data.Dataset``.

    Items are tensors, arrays or PIL images, or tuples whose first element is one of these (the
    rest, labels, is left aside). All items need one shape and dtype. They are read when asked
    for, so NaN is found at reading and the value range stays unknown, except for byte images. A
    data set with random augmentation breaks the promise that the same index gives the same row.
    """

    signal: Signal

    def __init__(self, dataset: Any, kind: Asked = None) -> None:
        # Data sets without a length may still inherit the methods, so the class is asked first.
        if isinstance(dataset, IterableDataset) or not (
            hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        ):
            raise IsthmusError(
                f"{type(dataset).__name__} can only be iterated, and rows must be readable by "
                "index: collect it into an array, or pass a data set with __len__ and __getitem__"
            )
        if len(dataset) == 0:
            raise IsthmusError("the data set is empty: pass at least one item")
        self.dataset = dataset
        first = _item(dataset[0])
        self.signal = Signal.infer(_some(dataset, first), kind)
        if self.signal.numel == 0:
            raise IsthmusError("the items of the data set have no elements: pass at least one")
        if self.signal.kind == "image" and self.signal.dtype == "uint8":
            self.signal = self.signal.bounded(0.0, 1.0)
        self._shape = tuple(first.shape)

    def __len__(self) -> int:
        return len(self.dataset)

    def rows(self, index: Tensor) -> Tensor:
        """Float32 rows ``(len(index), *signal.shape)``; NaN or infinity is an error."""
        rows = torch.stack([self._row(i) for i in index.tolist()])
        x = self.signal.tensor(rows, check=False)
        finite = torch.isfinite(x.flatten(1)).all(1)
        if not bool(finite.all()):
            bad = int(index[int((~finite).nonzero()[0])])
            raise IsthmusError(
                f"the data set contains NaN or infinity (in item {bad}): drop or fill it first"
            )
        return x

    def _row(self, i: int) -> Tensor:
        item = _item(self.dataset[i])
        shape, dtype = tuple(item.shape), dtype_name(item)
        if shape != self._shape or dtype != self.signal.dtype:
            raise IsthmusError(
                f"item {i} of the data set is {dtype} {shape}, but item 0 is {self.signal.dtype} "
                f"{self._shape}: give all items one shape and dtype"
            )
        if isinstance(item, Tensor):
            return item.detach().cpu()
        if dtype in ("uint16", "uint32", "uint64"):
            item = item.astype(np.float32)
        return torch.from_numpy(np.array(item))


def _some(dataset: Any, first: Array) -> Any:
    """The first item as a row, or a few where it takes more to tell images from series."""
    if first.ndim != 2:
        return first[None]
    step = max(1, -(-len(dataset) // _LOOKED_AT))
    items = [first, *(_item(dataset[i]) for i in range(step, len(dataset), step))]
    alike = [one for one in items if one.shape == first.shape]
    return torch.stack(alike) if isinstance(first, Tensor) else np.stack(alike)  # type: ignore[arg-type]


def _item(item: Any) -> Array:
    """The row that an item of a data set holds."""
    if isinstance(item, (tuple, list)) and item:
        item = item[0]
    if isinstance(item, Mapping):
        raise IsthmusError(
            "the items of the data set are dictionaries with "
            f"{', '.join(map(repr, item))}: pass a data set of one of these columns"
        )
    if isinstance(item, (Tensor, np.ndarray)):
        return item
    if type(item).__module__.startswith("PIL."):
        from isthmus.data.pixels import pixels

        image = pixels(item, "an item of the data set")
        # Channels first, because small images leave the shape alone ambiguous.
        return image if image.ndim == 2 else image.transpose(2, 0, 1)
    if isinstance(item, (bool, int, float, np.number)):
        return np.asarray(item)
    raise IsthmusError(
        f"the items of the data set are of type {type(item).__name__}: return tensors, arrays or "
        "PIL images"
    )
