"""The checks of a claim: the one that decides, the premises, and those that are reported beside."""

from dataclasses import dataclass
from typing import Literal

from isthmus.studies.quantities import Quantity

Source = Literal["null", "paper", "theorem", "ours"]
"""Whose a threshold is: that of no effect, the paper's, a theorem's, or the study's own."""


@dataclass(frozen=True)
class Published:
    """The effect that the paper reports, in the quantity's own unit, and where it stands."""

    effect: float
    place: str


@dataclass(frozen=True)
class Threshold:
    """A side of a number: exactly one of ``above`` and ``below``."""

    above: float | None
    below: float | None

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError("a check has one side: pass either above= or below=")

    @property
    def number(self) -> float:
        """The threshold itself."""
        bound = self.above if self.below is None else self.below
        assert bound is not None
        return bound

    @property
    def rule(self) -> str:
        """The condition in symbols."""
        return f"{'>' if self.below is None else '<'} {self.number:g}"

    def passes(self, value: float) -> bool:
        """Whether the value lies on the asserted side."""
        return value > self.number if self.below is None else value < self.number


@dataclass(frozen=True)
class Primary:
    """The check that decides: the paper's own comparison, in the paper's own measure.

    quantity
        Paired by seed, against one comparator that is named in advance.
    above, below
        The side that the paper asserts, of the quantity's null; or of a number that the paper or a
        theorem gives, with ``source`` and the ``place`` where it stands.
    positive, negative
        Something that must pass and something that must not: the name of an arm that takes the
        method's place in the quantity, or a quantity. Where the first is missed, or the second
        passes, the experiment could not have told, and nothing is decided.
    published
        The effect of the paper, where it gives one in this quantity.
    """

    quantity: Quantity
    positive: Quantity | str
    negative: Quantity | str
    above: float | None = None
    below: float | None = None
    source: Source = "null"
    place: str = ""
    published: Published | None = None

    def __post_init__(self) -> None:
        number, text = self.threshold.number, self.quantity.text
        if self.quantity.is_extreme:
            raise ValueError(f"{text!r} is a best-of or a worst-of, which noise alone moves")
        if self.source == "ours":
            raise ValueError(f"{text!r}: a threshold of our own decides nothing")
        if self.source == "null" and number != self.quantity.null:
            raise ValueError(f"{text!r}: {number:g} is not its null: say whose number it is")
        if self.source != "null" and not self.place:
            raise ValueError(f"{text!r}: say where {number:g} stands")

    @property
    def threshold(self) -> Threshold:
        """The side that is asserted."""
        return Threshold(self.above, self.below)

    def control(self, kind: Literal["positive", "negative"]) -> Quantity:
        """The quantity of a control."""
        arm_or_quantity = self.positive if kind == "positive" else self.negative
        return (
            self.quantity.for_arm(arm_or_quantity)
            if isinstance(arm_or_quantity, str)
            else arm_or_quantity
        )


@dataclass(frozen=True)
class Premise:
    """What has to be so for the experiment to be the one that is meant, and why.

    A baseline at its known value, two arms at equal L0, a probe that finds what is looked for.
    The number may be ours: it decides whether anything is decided, and never which way.
    """

    quantity: Quantity
    above: float | None = None
    below: float | None = None
    why: str = ""

    def __post_init__(self) -> None:
        Threshold(self.above, self.below)

    @property
    def threshold(self) -> Threshold:
        """The side that is needed."""
        return Threshold(self.above, self.below)


@dataclass(frozen=True)
class Secondary:
    """A further statement, with a word of its own that changes nothing of the claim's."""

    quantity: Quantity
    above: float | None = None
    below: float | None = None
    source: Source = "null"
    place: str = ""
    published: Published | None = None

    def __post_init__(self) -> None:
        if self.source == "null" and self.threshold.number != self.quantity.null:
            raise ValueError(f"{self.quantity.text!r}: say whose {self.threshold.number:g} is")

    @property
    def threshold(self) -> Threshold:
        """The side that is asserted."""
        return Threshold(self.above, self.below)


@dataclass(frozen=True)
class Tuning:
    """Learning rates chosen for every arm from one grid, on the pilot's seed.

    ``measure`` names the figure that each arm is chosen by; ``arms`` those that have a rate.
    """

    rates: tuple[float, ...]
    measure: str
    arms: tuple[str, ...]
    lower_is_better: bool = True
