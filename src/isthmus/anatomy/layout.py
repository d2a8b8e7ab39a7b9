"""What goes in comes back in its layout, units and type: arrays for arrays, texts for texts, bytes
for bytes, lists for lists."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy.batch import Batch
from isthmus.anatomy.ragged import Ragged, lengths_of, text_of
from isthmus.anatomy.signal import Signal
from isthmus.anatomy.source import Source
from isthmus.anatomy.tree import Tree
from isthmus.notices import say


def restored(given: Any, recon: Tree, signal: Signal) -> Any:
    """A reconstruction of what the user gave, in its layout, units and type.

    Axes lie as they lay there. Bytes that were read as fractions are bytes again; whole numbers
    are rounded to their type, and floats have the type that they had (16 bits too); tensors return
    to their device, a list to a list. What is rebuilt in another shape than the input's (a target
    of its own) is left as it is, and so is that of a :class:`Batch`, which was read before. A
    source gives tensors in the layout and type of its raw rows. ``signal`` is the model's.
    """
    if isinstance(given, Batch):
        return like(given, recon)
    if isinstance(recon, Mapping):
        return {
            name: restored(_part(given, name), leaf, _of(signal, name))
            for name, leaf in recon.items()
        }
    if isinstance(given, Source):
        raw = _of(given.signal, "")
        if isinstance(recon, Ragged) or raw.kind == "collection":
            return like(given, recon)
        return raw_rows(recon, raw)
    if isinstance(recon, Ragged):
        return _listed(given, recon, None)
    shape = tuple(int(n) for n in np.shape(_first_row(given)))
    if not isinstance(recon, Tensor):
        return like(given, recon)
    if tuple(recon.shape[1:]) != signal.shape:
        array = isinstance(given, (np.ndarray, Tensor)) and recon.shape == given.shape
        return _typed(given, recon, signal) if array else like(given, recon)
    recon = _arranged(recon, signal, shape)
    if isinstance(given, (list, tuple)):
        return [_typed(one, row, signal) for one, row in zip(given, recon, strict=True)]
    return _typed(given, recon, signal)


def raw_rows(recon: Tree, signal: Signal) -> Tree:
    """Rows as a model has them in the layout, units and type of the raw rows of ``signal``.

    Only images of whole numbers are rounded to these.
    """
    if isinstance(recon, Mapping):
        return {n: raw_rows(leaf, _of(signal, n)) for n, leaf in recon.items()}
    if not isinstance(recon, Tensor) or tuple(recon.shape[1:]) != signal.shape:
        return recon
    x = _arranged(recon, signal, None)
    kind = getattr(torch, signal.dtype, None)
    if not x.is_floating_point() or not isinstance(kind, torch.dtype) or kind == torch.bool:
        return x
    if kind.is_floating_point:
        return x.to(kind)
    return _whole(x, signal, signal.dtype).to(kind) if signal.kind == "image" else x


def _arranged(recon: Tensor, signal: Signal, shape: tuple[int, ...] | None) -> Tensor:
    """Rows in the order of axes of raw rows ``shape``, by default those of the signal."""
    sizes = signal.shape
    if signal.kind == "series" and signal.axis == 1:
        return recon.movedim(-1, 1).contiguous()
    if signal.kind != "image" or shape == sizes:
        return recon
    if (shape is None and signal.flat) or shape == sizes[1:]:
        return recon.squeeze(1)
    if (shape is None and signal.channels_last) or shape == (*sizes[1:], sizes[0]):
        return recon.movedim(1, -1).contiguous()
    return recon


def _typed(original: Any, x: Tensor, signal: Signal) -> Any:
    """Values in the units and the type of what was given: an array, a tensor, a list, a picture."""
    if type(original).__module__.startswith("PIL."):
        return _picture(_whole(x, signal, "uint8"))
    if not isinstance(original, (np.ndarray, Tensor)):
        return x.tolist()
    name = (
        original.dtype.name
        if isinstance(original, np.ndarray)
        else str(original.dtype)[len("torch.") :]
    )
    if x.is_floating_point() and name.startswith(("int", "uint")):
        if signal.kind != "image":
            say(
                f"reconstructions of whole numbers are rounded to {name}, as the data are: pass "
                "them as floats to have fractions"
            )
        x = _whole(x, signal, name)
    if isinstance(original, Tensor):
        return x.to(original.device, x.dtype if original.dtype == torch.bool else original.dtype)
    array = x.detach().cpu().numpy()
    return array if original.dtype.kind == "b" else array.astype(original.dtype.newbyteorder("="))


def _whole(x: Tensor, signal: Signal, name: str) -> Tensor:
    """Rounded, within what the type holds, in double; bytes of images were read as fractions."""
    x = x.double()
    if signal.kind == "image" and signal.dtype == "uint8":
        x = x * 255.0
    limits = np.iinfo(name)
    # The double next to 2**63 - 1 is 2**63, which no integer of 64 bits holds.
    exact = int(float(limits.max)) == limits.max
    most = float(limits.max) if exact else float(np.nextafter(float(limits.max), 0.0))
    return x.round().clamp(float(limits.min), most)


def _picture(x: Tensor) -> Any:
    from PIL import Image

    array = x.to(torch.uint8).cpu().numpy()
    return Image.fromarray(array[0] if array.ndim == 3 and array.shape[0] == 1 else array)


def _first_row(original: Any) -> Any:
    """The first row of an array or a list."""
    if isinstance(original, (np.ndarray, Tensor, list, tuple)) and len(original):
        row = original[0]
        return row.detach().cpu() if isinstance(row, Tensor) else row
    return original


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


def shown_as(X: Any, recon: Tree, layout: Any, signal: Signal) -> Any:
    """A reconstruction for a preparation to restore: of a mapping, arrays in their own layout."""
    if isinstance(X, Mapping) and isinstance(recon, Mapping):
        images = {n for n, part in signal.parts.items() if part.kind == "image" and n in X}
        rest = like(layout, {n: leaf for n, leaf in recon.items() if n not in images})
        return {
            n: restored(X[n], leaf, signal.parts[n]) if n in images else rest[n]
            for n, leaf in recon.items()
        }
    return like(layout, recon)


def named_rows(found: Any, given: Any) -> Any:
    """A frame under the rows' names of the frame that it was made from."""
    index = getattr(given, "index", None)
    framed = hasattr(found, "set_axis") and hasattr(given, "columns") and not callable(index)
    return found.set_axis(index) if framed and len(found) == len(given) else found


def cut(recon: Tree, signal: Signal, mask: Tree) -> Tree:
    """A reconstruction of rows of different lengths, at the lengths that they have."""
    if isinstance(recon, Mapping):
        masks = mask if isinstance(mask, Mapping) else {}
        return {n: cut(leaf, _of(signal, n), masks.get(n)) for n, leaf in recon.items()}
    if signal.ragged and isinstance(recon, Tensor) and isinstance(mask, Tensor):
        return Ragged(recon, lengths_of(mask))
    return recon


def _listed(original: Any, rows: Ragged, signal: Signal | None) -> Any:
    if isinstance(original, Batch):
        return rows.values
    text = text_of(original) if signal is None else signal.text
    if text is not None:
        texts = rows.texts()
        return texts if text == "bytes" else [one.decode(errors="replace") for one in texts]
    first = _first(original)
    if isinstance(first, np.ndarray):
        return [row.numpy() for row in rows.rows()]
    plain = isinstance(original, (list, tuple)) and not isinstance(first, Tensor)
    return [row.tolist() for row in rows.rows()] if plain else rows.rows()


def _first(original: Any) -> Any:
    """The first array, tensor or number of what was given."""
    while isinstance(original, (Mapping, list, tuple)) and len(original):
        original = next(iter(original.values())) if isinstance(original, Mapping) else original[0]
    return original


def _part(original: Any, name: str) -> Any:
    return original[name] if isinstance(original, Mapping) and name in original else original


def _of(signal: Signal, name: str) -> Signal:
    return signal.parts.get(name, signal)
