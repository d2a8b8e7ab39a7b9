"""What every feed of a model has in common."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(eq=False)
class Kept:
    """The activations of a few rows of input, token by token, in the order of rows and places.

    ``values`` are ``(tokens, width)`` for each point, on the CPU, in the model's dtype. ``row`` and
    ``place`` int64 ``(tokens,)`` say where each token stands.
    """

    values: dict[str, Tensor]
    row: Tensor
    place: Tensor


class Feed(Protocol):
    """Rows of input and the model they go through.

    ``counts`` int64 ``(rows,)`` is how many tokens are kept of each row, and ``left_out`` how many
    are not, by reason. ``widths`` are the points' widths, ``places`` the most tokens of a
    row, and ``axes`` which axis of a point's tensors holds the features.
    """

    model: Any
    points: tuple[str, ...]
    widths: dict[str, int]
    counts: Tensor
    left_out: dict[str, int]
    places: int
    axes: dict[str, int]

    def run(self, rows: Tensor) -> Kept:
        """One forward pass over the rows ``rows``, int64."""
        ...

    def settle(self, batches: Iterable[Tensor]) -> None:
        """Find out what is found out on the way, from the first of the batches that tells it.

        For who does not begin with the first batch, and has to end on the same bits.
        """
        ...

    def about(self) -> dict[str, Any]:
        """The model, for provenance."""
        ...

    def fingerprint(self) -> str:
        """A hash of the input, not of the model."""
        ...


def class_name(thing: object) -> str:
    """The full name of a thing's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
