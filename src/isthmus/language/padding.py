"""Which places of a row hold tokens, and rows with their padding out of the way."""

from typing import Any

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.shapes import Bool, Int


def as_mask(mask: Any, shape: tuple[int, ...] | None = None) -> Bool[Tensor, "rows places"]:
    """A mask of any type as bool, True at tokens; None is all tokens where the shape is known.

    Raises :class:`IsthmusError` for other values than 0 and 1, such as masks that are added to
    attention scores, and for another shape than ``shape``.
    """
    if mask is None and shape is not None:
        return torch.ones(shape, dtype=torch.bool)
    held = torch.as_tensor(mask)
    if shape is not None and tuple(held.shape) != shape:
        raise IsthmusError(
            f"the mask has the shape {tuple(held.shape)} and the tokens {shape}: pass a mask with "
            "one entry for each token"
        )
    if held.dtype == torch.bool:
        return held
    nonzero = held != 0
    if bool((nonzero & (held != 1)).any()):
        wrong = held[nonzero & (held != 1)].flatten()[0].item()
        raise IsthmusError(
            f"the mask holds {wrong:g}: pass 1 (or True) at tokens and 0 at padding, not what is "
            "added to attention scores"
        )
    return nonzero


def packed(
    ids: Int[Tensor, "rows places"], mask: Bool[Tensor, "rows places"]
) -> tuple[Int[Tensor, "rows long"], Bool[Tensor, "rows long"], Int[Tensor, "rows long"]]:
    """Rows with their tokens in front and all padding behind them, cut to the longest row.

    Returns token numbers (0 at padding), the mask, and the place where each token stood. A model
    gives a token of such a row what it gives it in the text alone: its position counts tokens, and
    padding comes after it.
    """
    long = max(1, int(mask.sum(1).max())) if len(mask) else 1
    # A stable sort keeps the order of the tokens.
    order = (~mask).to(torch.int8).argsort(dim=1, stable=True)[:, :long]
    seen = mask.gather(1, order)
    return ids.gather(1, order).masked_fill(~seen, 0), seen, order
