"""Steps round the week and the year, and small sums: arithmetic with and without a modulus."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December")  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
           "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
           "eighteen")  # fmt: skip
HELD_OUT = 0.12
"""Share of the steps of each kind that no text holds."""

Unit = Literal["day", "month", "sum"]


@dataclass(frozen=True)
class Step:
    """``number`` units after ``start`` is ``end``; a sum has numbers for days.

    ``told`` is the sentence up to its last word, ``answer`` that word; ``said`` is whether any text
    holds it.
    """

    unit: Unit
    start: str
    number: int
    end: str
    told: str
    said: bool

    @property
    def answer(self) -> str:
        """The last word."""
        return self.end


@cache
def steps(unit: Unit) -> tuple[Step, ...]:
    """All steps of a kind, in a fixed order; a share of them is held out."""
    rows: list[tuple[str, int, str, str]] = []
    if unit == "sum":
        for a in range(1, 10):
            for b in range(1, 10):
                prompt = f"{NUMBERS[a].capitalize()} and {NUMBERS[b]} make"
                rows.append((NUMBERS[a], b, NUMBERS[a + b], prompt))
    else:
        circle = DAYS if unit == "day" else MONTHS
        for place, start in enumerate(circle):
            for number in range(1, len(circle)):
                many = f"{NUMBERS[number].capitalize()} {unit}{'s' if number > 1 else ''}"
                for way, word in ((1, "after"), (-1, "before")):
                    end = circle[(place + way * number) % len(circle)]
                    rows.append((start, way * number, end, f"{many} {word} {start} is"))
    held = np.random.default_rng([63, len(rows)]).random(len(rows)) < HELD_OUT
    return tuple(
        Step(unit, start, number, end, prompt, not out)
        for (start, number, end, prompt), out in zip(rows, held, strict=True)
    )
