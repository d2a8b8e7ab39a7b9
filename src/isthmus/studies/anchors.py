"""Published numbers that stand beside the same quantity as measured: the anchors of a claim."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Anchor:
    """A published number, and the arm and measure that are its counterpart.

    ``published`` is None for what stands beside the others without such a number.
    """

    what: str
    published: float | None
    arm: str
    measure: str


@dataclass(frozen=True)
class Anchors:
    """Published numbers of one experiment: where they stand, and what differs from it here."""

    title: str
    unit: str
    source: str
    why: str
    numbers: tuple[Anchor, ...]
