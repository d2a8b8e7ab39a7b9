"""Documents as rows of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.language.document import Document
from isthmus.language.host import Tokenizer
from isthmus.language.padding import as_mask, packed
from isthmus.shapes import Int


@dataclass(frozen=True)
class Tokens:
    """Rows of tokens, and which document and place each comes from.

    ids
        int64 ``(rows, places)``. Where a row is padded, on either side, they mean nothing.
    mask
        bool ``(rows, places)``, True at tokens (the one that begins a row included). Any type is
        taken that has 1 at tokens and 0 at padding, floats included, and becomes bool.
    document
        int64 ``(rows,)``, an index into ``names``.
    start
        int64 ``(rows,)``, which token of its document is the row's first (BOS not counted).
    names
        What the documents are called.

    What a model makes of a row is what it makes of the row's tokens alone, wherever padding is:
    whoever runs one packs the rows by :func:`isthmus.language.padding.packed` first.
    """

    ids: Tensor
    mask: Tensor
    document: Tensor
    start: Tensor
    names: list[str]

    def __post_init__(self) -> None:
        ids = torch.as_tensor(self.ids)
        if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
            raise IsthmusError(
                f"tokens are whole numbers (rows, places), and these are {ids.dtype} of shape "
                f"{tuple(ids.shape)}: pass the tokenizer's input_ids"
            )
        object.__setattr__(self, "ids", ids.to(torch.int64))
        object.__setattr__(self, "mask", as_mask(self.mask, tuple(ids.shape)))
        for name in ("document", "start"):
            numbers = torch.as_tensor(getattr(self, name)).to(torch.int64)
            if tuple(numbers.shape) != (len(ids),):
                raise IsthmusError(
                    f"{name} has the shape {tuple(numbers.shape)} for {len(ids)} rows of tokens: "
                    "pass one number a row"
                )
            object.__setattr__(self, name, numbers)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Int[Tensor, " some"]) -> "Tokens":
        """Some of the rows."""
        return Tokens(
            self.ids[index],
            self.mask[index],
            self.document[index],
            self.start[index],
            self.names,
        )

    def packed(self) -> "Tokens":
        """The same rows with all padding behind the tokens, cut to the longest row."""
        ids, mask, _ = packed(self.ids, self.mask)
        return replace(self, ids=ids, mask=mask)


def pack(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    context: int = 256,
    limit: int | None = None,
    bos: bool = True,
) -> Tokens:
    """Cut each document in rows of ``context`` tokens; its last row may be shorter.

    Each row begins with BOS where the tokenizer has one (``bos=False``: none does), and no row
    holds text of two documents. With a ``limit``, rows spread evenly over all documents are kept,
    with at most that many tokens of text in all.
    """
    first = [tokenizer.bos] if bos and tokenizer.bos is not None else []
    room = context - len(first)
    if room < 1:
        raise IsthmusError(f"context={context} leaves no room for text: use 2 or more")
    if limit is not None and limit < 1:
        raise IsthmusError(f"limit={limit} leaves no text: use 1 or more")
    document_tokens = [
        np.array(tokenizer.encode(document.text), np.int64) for document in documents
    ]
    places = [
        (which, start)
        for which, tokens in enumerate(document_tokens)
        for start in range(0, len(tokens), room)
    ]
    if not places:
        raise IsthmusError("there is no text: give documents that are not empty")
    sizes = np.array([min(room, len(document_tokens[which]) - start) for which, start in places])
    kept, sizes = _spread(sizes, limit)
    ids = np.zeros((len(kept), context), np.int64)
    mask = np.zeros((len(kept), context), bool)
    ids[:, : len(first)] = first
    for row, (place, size) in enumerate(zip(kept.tolist(), sizes.tolist(), strict=True)):
        which, start = places[place]
        ids[row, len(first) : len(first) + size] = document_tokens[which][start : start + size]
        mask[row, : len(first) + size] = True
    kept_places = np.array(places, np.int64)[kept]
    return Tokens(
        torch.from_numpy(ids),
        torch.from_numpy(mask),
        torch.from_numpy(kept_places[:, 0].copy()),
        torch.from_numpy(kept_places[:, 1].copy()),
        [document.name for document in documents],
    )


def _spread(sizes: np.ndarray, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are kept, and how many tokens of each."""
    total = int(sizes.sum())
    if limit is None or total <= limit:
        return np.arange(len(sizes)), sizes
    number = max(1, round(len(sizes) * limit / total))
    kept = np.unique(np.arange(number) * len(sizes) // number)
    before = np.cumsum(sizes[kept]) - sizes[kept]
    left = np.clip(limit - before, 0, sizes[kept])
    return kept[left > 0], left[left > 0]
