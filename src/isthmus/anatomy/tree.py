"""Trees: a tensor, an opaque value of rows, or names of trees; and what is done to every leaf.

A model of one tensor never meets a name: a tensor is the tree that is one leaf.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from isthmus.anatomy.ragged import lengthened
from isthmus.errors import IsthmusError

Tree = Any
"""A :class:`~torch.Tensor`, a :class:`Rows`, or a mapping from names to trees."""


@runtime_checkable
class Rows(Protocol):
    """Examples that are no tensor, such as graphs: they can be counted, chosen, joined and moved.

    ``take`` returns the rows of an int64 index, ``collate`` those of several values in a row, and
    ``to`` the same rows on a device. ``tensors`` are what a checkpoint stores of them, and
    ``restored`` makes them again.
    """

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Self: ...

    def to(self, device: torch.device) -> Self: ...

    def tensors(self) -> dict[str, Tensor]: ...

    @classmethod
    def collate(cls, parts: Sequence[Self]) -> Self: ...

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> Self: ...


def leaves(tree: Tree, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its name, those of a nested tree joined by dots; a single leaf has ``""``."""
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from leaves(branch, f"{name}.{key}" if name else str(key))
    elif tree is not None:
        yield name, tree


def mapped(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """``function`` of every leaf, with the leaves of the ``others`` of the same names.

    An other that is None, or lacks a name, gives None there.
    """
    if isinstance(tree, Mapping):
        return {
            name: mapped(function, branch, *(_branch(other, name) for other in others))
            for name, branch in tree.items()
        }
    return function(tree, *others)


def _branch(tree: Tree, name: str) -> Tree:
    return tree.get(name) if isinstance(tree, Mapping) else tree


def same_names(tree: Tree, other: Tree, what: str, than: str) -> None:
    """An error where two trees differ in their names."""
    mine, theirs = names(tree), names(other)
    if mine == theirs:
        return
    lacking, extra = sorted(theirs - mine), sorted(mine - theirs)
    faults = [f"lacks {', '.join(map(repr, lacking))}"] if lacking else []
    faults += [f"has {', '.join(map(repr, extra))} too many"] if extra else []
    raise IsthmusError(
        f"{what} {' and '.join(faults)}: give it the names of {than}, "
        f"{', '.join(map(repr, sorted(theirs))) or 'which is a single tensor'}"
    )


def names(tree: Tree) -> set[str]:
    """The names of a tree's leaves; none of a single leaf."""
    return {name for name, _ in leaves(tree) if name}


def count(tree: Tree) -> int:
    """How many rows a tree has: all of its leaves must agree."""
    lengths = {name: len(leaf) for name, leaf in leaves(tree)}
    if not lengths:
        raise IsthmusError("the data are empty: pass at least one named array")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
        raise IsthmusError(f"parts of one batch need equally many rows, but {listed}: pair them")
    return next(iter(lengths.values()))


def moved(tree: Tree, device: torch.device) -> Tree:
    """The same tree on a device."""
    return mapped(lambda leaf: leaf.to(device), tree)


def chosen(tree: Tree, index: Tensor) -> Tree:
    """The rows of an int64 index."""

    def take(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.index_select(0, index.to(leaf.device))
        return leaf.take(index)

    return mapped(take, tree)


def sliced(tree: Tree, start: int, stop: int) -> Tree:
    """The rows from ``start`` to ``stop``; tensors share their memory."""

    def part(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf[start:stop]
        return leaf.take(torch.arange(start, min(stop, len(leaf))))

    return mapped(part, tree)


def joined(trees: Sequence[Tree]) -> Tree:
    """The rows of several trees one after another; shorter ragged rows are filled with zeros.

    What is None in the first is None.
    """
    first = trees[0]
    if first is None:
        return None
    if isinstance(first, Mapping):
        return {name: joined([tree[name] for tree in trees]) for name in first}
    if not isinstance(first, Tensor):
        return type(first).collate(trees)
    if first.ndim > 1 and len({tensor.shape[1] for tensor in trees}) > 1:
        longest = max(tensor.shape[1] for tensor in trees)
        trees = [lengthened(tensor, longest) for tensor in trees]
    return torch.cat(list(trees))


def flattened(tree: Tree, name: str) -> dict[str, Tensor]:
    """A tree as named tensors, for a file: ``name``, or ``name.part`` for each part."""
    tensors: dict[str, Tensor] = {}
    for inner, leaf in leaves(tree):
        whole = f"{name}.{inner}" if inner else name
        if isinstance(leaf, Tensor):
            tensors[whole] = leaf
        else:
            tensors.update({f"{whole}.{key}": value for key, value in leaf.tensors().items()})
    return tensors


def like(value: Tensor, tensor: Tensor) -> Tensor:
    """``value`` with as many axes as ``tensor``, by axes of length one at its end."""
    return value.reshape(*value.shape, *[1] * (tensor.ndim - value.ndim))


def observed(error: Tensor, mask: Tensor | None) -> Tensor:
    """``error`` ``(rows, ...)`` with zeros where the mask, of its first axes, is False."""
    if mask is None:
        return error
    return torch.where(like(mask, error), error, torch.zeros((), dtype=error.dtype).to(error))


def elements(tensor: Tensor, mask: Tensor | None) -> Tensor | int:
    """How many elements of each row count: a number, or with a mask ``(rows,)``."""
    each = tensor[0].numel() if len(tensor) else 1
    if mask is None:
        return each
    inner = tensor.shape[mask.ndim :].numel()
    return (mask.flatten(1).sum(1) if mask.ndim > 1 else mask.long()).mul(inner)


def wide(values: Tree) -> Tree:
    """Half precision as float32, which every library reads; all else as it is."""

    def single(leaf: Any) -> Any:
        half = isinstance(leaf, Tensor) and leaf.dtype in (torch.bfloat16, torch.float16)
        return leaf.float() if half else leaf

    return mapped(single, values)
