"""What a source yields, and where a run stands: both go from the source to the last term."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import tree
from isthmus.anatomy.schedule import Clock
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError

MODEL = "model"
"""The player that owns encoder, bottleneck and decoder."""


class Given(dict[str, Tensor]):
    """What a source gives beside the examples, by name; a name that is not there is an error."""

    def __missing__(self, name: str) -> Tensor:
        if self:
            raise IsthmusError(
                f"the model asks for {name!r} of each row, and the data give "
                f"{', '.join(map(repr, self))}: give it under that name"
            )
        raise IsthmusError(
            f"the model asks for {name!r} of each row, and the data give none: pass "
            f'given={{"{name}": ...}}, one entry a row'
        )


def entries(name: str, values: Any, rows: int) -> Tensor:
    """What is given under a name, one entry a row, as the tensor that a model gets.

    Whole numbers become int64, others float32. Anything that is no number, or not finite, or of
    another length than ``rows`` is an :class:`IsthmusError`.
    """
    try:
        array = np.asarray(_plain(values) if isinstance(values, Tensor) else values)
    except ValueError:  # a list of lists of different lengths
        array = np.asarray(values, dtype=object)
    if array.ndim == 0 or len(array) != rows:
        has = f"{len(array)} entries" if array.ndim else "a single value"
        raise IsthmusError(f"given[{name!r}] has {has} for {rows} rows: pass one per row")
    if array.dtype.kind not in "biuf":
        raise IsthmusError(
            f"given[{name!r}] is not numeric: number its levels first, for example with "
            "numpy.unique(y, return_inverse=True)[1]"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array.reshape(rows, -1)).all(1))[0])
        raise IsthmusError(f"given[{name!r}] is not finite in row {bad}: drop or fill it")
    kind = np.float32 if array.dtype.kind == "f" else np.bool_ if array.dtype.kind == "b" else int
    return torch.from_numpy(np.ascontiguousarray(array.astype(kind)))


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def all_entries(given: Any, rows: int) -> Given:
    """All that is given, by name: see :func:`entries`."""
    if not isinstance(given, Mapping):
        raise IsthmusError(
            f"what is given is a {type(given).__name__}: pass a mapping of names to one entry a "
            'row, given={"label": y}'
        )
    return Given({str(name): entries(str(name), values, rows) for name, values in given.items()})


@dataclass(eq=False)
class Batch:
    """Some rows of a source.

    ``x`` is a tensor ``(rows, *shape)`` or a tree of these, in the user's units; token ids and
    other whole numbers stay whole numbers. ``rows`` int64 ``(rows,)`` are their numbers in the
    source that is trained on, where there is one. ``mask`` is bool, True where an entry is
    observed: its axes are the first axes of x, so it is ``(rows,)`` for a part that some rows lack,
    ``(rows, steps)`` for rows of different lengths, ``(rows, *shape)`` for missing entries; of a
    tree it is a tree of the same names, None where all is there. ``given`` holds whatever else the
    source names, one entry a row: labels, conditions, weights, times.
    """

    x: Tree
    rows: Tensor | None = None
    mask: Tree | None = None
    given: Mapping[str, Tensor] = field(default_factory=Given)

    def __post_init__(self) -> None:
        if not isinstance(self.given, Given):
            self.given = Given(self.given)

    def __len__(self) -> int:
        if isinstance(self.x, Tensor):
            return len(self.x)
        return tree.count(self.x)

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its data on a device; row numbers stay where they are."""
        given = {name: value.to(device) for name, value in self.given.items()}
        return Batch(tree.moved(self.x, device), self.rows, _moved(self.mask, device), given)

    def part(self, start: int, stop: int) -> "Batch":
        """The rows from ``start`` to ``stop``."""
        return Batch(
            tree.sliced(self.x, start, stop),
            None if self.rows is None else self.rows[start:stop],
            None if self.mask is None else tree.mapped(lambda m: _part(m, start, stop), self.mask),
            {name: value[start:stop] for name, value in self.given.items()},
        )

    def checked(self) -> "Batch":
        """This batch; an error where its parts have different lengths."""
        rows = len(self)
        others: dict[str, Any] = {f"given[{name!r}]": v for name, v in self.given.items()}
        others.update({f"mask {n}".strip(): leaf for n, leaf in tree.leaves(self.mask)})
        for what, value in others.items():
            if len(value) != rows:
                raise IsthmusError(
                    f"the {what} of a batch has {len(value)} entries for {rows} rows: pass one "
                    "per row"
                )
        return self


def _moved(mask: Tree, device: torch.device) -> Tree:
    return tree.mapped(lambda leaf: None if leaf is None else leaf.to(device), mask)


def _part(mask: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if mask is None else mask[start:stop]


@dataclass(frozen=True, eq=False)
class Step:
    """Where a run stands: for whoever asks for it.

    ``player`` is whose turn it is. ``parts`` is how many parts a batch is cut into to save memory:
    what ``observe`` gets are the joined rows of all.
    """

    clock: Clock = field(default_factory=Clock)
    player: str = MODEL
    parts: int = 1
    batch: Batch | None = None
