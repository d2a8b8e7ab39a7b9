"""What torch says where a part is given rows of a shape or type that it cannot read."""

import re

import torch
from torch import Tensor, nn

from isthmus.anatomy import tree
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError

_SHAPES = re.compile(
    r"shapes cannot be multiplied|size mismatch|must match the size|is invalid for input of size"
    r"|[Gg]iven groups|Expected .*input|expected input|to have \d+ channels|Given normalized_shape"
    r"|can't be expanded|Kernel size can't be greater|[Ii]nput tensor|input\.size|running_mean"
    r"|Dimension out of range|shape .* is invalid|must have the same dtype|expected scalar type"
)


class Misfit(IsthmusError):
    """A part was given rows of a shape or type that it cannot read."""


def check_misfit(role: str, part: nn.Module, x: Tree, problem: RuntimeError) -> None:
    """A :class:`Misfit` where that is what a part complains of that was given ``x``."""
    message = (str(problem).strip().splitlines() or [""])[0]
    if isinstance(problem, torch.OutOfMemoryError) or not _SHAPES.search(message):
        return
    shapes = ", ".join(
        f"{f'{name} ' if name else ''}{str(leaf.dtype)[6:]} {tuple(leaf.shape)}"
        for name, leaf in tree.leaves(x)
        if isinstance(leaf, Tensor)
    )
    raise Misfit(
        f"the {role} {type(part).__name__} cannot read what it is given, {shapes} ({message}): "
        f"give the model a {role} for this shape and type"
    ) from problem
