"""A copy of a weight in half precision, made once a step and not once a product.

The optimiser's pass over the rows writes it beside the weight; where nothing does, it is made anew
when the weight has changed.
"""

import torch
from torch import Tensor

_ATTRIBUTE = "_isthmus_half_copy"


def lowered(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in ``dtype``, without derivatives; itself where it is of that type."""
    if weight.dtype == dtype:
        return weight
    kept = getattr(weight, _ATTRIBUTE, None)
    if kept is not None:
        copy, version = kept
        if copy.dtype == dtype and copy.device == weight.device and version == weight._version:
            return copy
    copy = weight.detach().to(dtype)
    setattr(weight, _ATTRIBUTE, (copy, weight._version))
    return copy


def copy_of(weight: Tensor) -> Tensor | None:
    """The copy that there is, for whoever changes the weight and the copy together."""
    kept = getattr(weight, _ATTRIBUTE, None)
    return None if kept is None or kept[0].device != weight.device else kept[0]


def is_current(weight: Tensor, copy: Tensor) -> None:
    """Note that the copy is that of the weight as it is now."""
    setattr(weight, _ATTRIBUTE, (copy, weight._version))
