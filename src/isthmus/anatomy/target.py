"""What is to be rebuilt, where that is more than a function of the rows: its mask, the way back."""

from typing import Any

from isthmus.anatomy.output import View
from isthmus.anatomy.part import Part
from isthmus.anatomy.tree import Tree


class Target(Part):
    """A target whose entries are other ones than those of the rows.

    ``forward(x, *, mask, ...)`` returns a :class:`View` of what is to be rebuilt, in the model's
    units, and of which entries of that are observed; ``inverse`` brings a reconstruction of it
    back to rows, so that what users get has the layout of what they gave.
    """

    def forward(self, x: Tree, *, mask: Tree = None) -> View:
        raise NotImplementedError

    def inverse(self, recon: Tree) -> Any:
        """Rows, in the model's units; a :class:`Ragged` where they differ in length."""
        raise NotImplementedError
