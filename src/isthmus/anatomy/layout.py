"""What goes in comes back in its layout: arrays for arrays, texts for texts, lists for lists."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.anatomy.batch import Batch
from isthmus.anatomy.ragged import Ragged, lengths_of, text_of
from isthmus.anatomy.signal import Signal
from isthmus.anatomy.source import Source
from isthmus.anatomy.tree import Tree


def like(given: Any, result: Tree, signal: Signal | None = None) -> Any:
    """``result`` in the layout of what the user gave.

    Tensors become arrays where arrays were given. Rows of different lengths become a list of
    texts, bytes, arrays, lists or tensors, whichever were given; of a :class:`Batch`, the padded
    tensor. Where ``given`` says nothing about it, being latents, ``signal`` does: that of the
    model's data. That of a source is its own.
    """
    if isinstance(given, Source):
        given, signal = None, given.signal
    if isinstance(result, Mapping):
        return {
            name: like(_part(given, name), leaf, None if signal is None else _of(signal, name))
            for name, leaf in result.items()
        }
    if isinstance(result, Ragged):
        return _listed(given, result, signal)
    return result.numpy() if isinstance(_first(given), np.ndarray) else result


def cut(recon: Tree, signal: Signal, mask: Tree) -> Tree:
    """A reconstruction of rows of different lengths, at the lengths that they have."""
    if isinstance(recon, Mapping):
        masks = mask if isinstance(mask, Mapping) else {}
        return {n: cut(leaf, _of(signal, n), masks.get(n)) for n, leaf in recon.items()}
    if signal.ragged and isinstance(recon, Tensor) and isinstance(mask, Tensor):
        return Ragged(recon, lengths_of(mask))
    return recon


def _listed(given: Any, rows: Ragged, signal: Signal | None) -> Any:
    if isinstance(given, Batch):
        return rows.values
    text = text_of(given) if signal is None else signal.text
    if text is not None:
        texts = rows.texts()
        return texts if text == "bytes" else [one.decode(errors="replace") for one in texts]
    first = _first(given)
    if isinstance(first, np.ndarray):
        return [row.numpy() for row in rows.rows()]
    plain = isinstance(given, (list, tuple)) and not isinstance(first, Tensor)
    return [row.tolist() for row in rows.rows()] if plain else rows.rows()


def _first(given: Any) -> Any:
    """The first array, tensor or number of what was given."""
    while isinstance(given, (Mapping, list, tuple)) and len(given):
        given = next(iter(given.values())) if isinstance(given, Mapping) else given[0]
    return given


def _part(given: Any, name: str) -> Any:
    return given[name] if isinstance(given, Mapping) and name in given else given


def _of(signal: Signal, name: str) -> Signal:
    return signal.parts.get(name, signal)
