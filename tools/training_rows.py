"""The rows that a resident model is trained on: English, generated passages, repeated tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from isthmus.language.decoder import Shape

IGNORED = -1
PERIODS, TIMES = (8, 64), (2, 4)
"""How long repeated strings of random tokens are, and how often they stand: least and most."""


@dataclass(frozen=True)
class Rows:
    """How many rows there are of each kind."""

    english: int = 0
    generated: int = 0
    repeated: int = 0

    def __add__(self, other: "Rows") -> "Rows":
        return Rows(
            self.english + other.english,
            self.generated + other.generated,
            self.repeated + other.repeated,
        )


Phases = Sequence[tuple[float, Rows]]
"""The share of all steps at which each phase ends, the last at 1; and the rows of its steps."""


def at_step(phases: Phases, step: int, steps: int) -> Rows:
    """The rows of one step."""
    return next(rows for end, rows in phases if step < end * steps)


def before(phases: Phases, step: int, steps: int) -> Rows:
    """The rows of all steps before one."""
    return sum((at_step(phases, i, steps) for i in range(step)), Rows())


def step_rows(
    parts: Sequence[Sequence[np.ndarray]], shape: Shape, phases: Phases, steps: int, seed: int,
    begin: int,
) -> Iterator[np.ndarray]:  # fmt: skip
    """The targets of each step from ``begin`` on, ``(rows, context)``, a function of the seed.

    ``parts`` are the tokens of the English documents and of the generated ones.
    """
    read = before(phases, begin, steps)
    streams = [
        document_rows(part, shape.context, seed, number, skip)
        for number, (part, skip) in enumerate(
            zip(parts, (read.english, read.generated), strict=False)
        )
    ]
    for step in range(begin, steps):
        wanted = at_step(phases, step, steps)
        found = [
            next(stream)
            for stream, number in zip(streams, (wanted.english, wanted.generated), strict=False)
            for _ in range(number)
        ]
        draw = np.random.default_rng((seed, step, 2))
        found += [
            repeated_row(draw, shape.context, shape.vocabulary) for _ in range(wanted.repeated)
        ]
        yield np.stack([found[i] for i in draw.permutation(len(found))])


def document_rows(
    documents: Sequence[np.ndarray], context: int, seed: int, number: int, skip: int
) -> Iterator[np.ndarray]:
    """Rows without end, in an order of their own; each epoch cuts the documents elsewhere."""
    epoch = 0
    while True:
        draw = np.random.default_rng((seed, epoch, number))
        targets = rows_of(documents, context, draw.integers(0, context, len(documents)).tolist())
        targets = targets[draw.permutation(len(targets))]
        yield from targets[skip:]
        skip = max(0, skip - len(targets))
        epoch += 1


def repeated_row(draw: np.random.Generator, context: int, vocabulary: int) -> np.ndarray:
    """Strings of random tokens, each two to four times in turn; the first token, BOS, is in none.

    Nothing but the earlier copy tells what comes next (Olsson et al. 2022).
    """
    row: list[int] = []
    while len(row) < context:
        once = draw.integers(1, vocabulary, int(draw.integers(PERIODS[0], PERIODS[1] + 1)))
        row += once.tolist() * int(draw.integers(TIMES[0], TIMES[1] + 1))
    return np.array(row[:context])


def rows_of(documents: Sequence[np.ndarray], context: int, offsets: Sequence[int]) -> np.ndarray:
    """Every token once as a target, ``(rows, context)``; -1 where a document leaves room."""
    cut = []
    for tokens, offset in zip(documents, offsets, strict=True):
        edges = [0, *range(offset or context, len(tokens), context), len(tokens)]
        for begin, end in pairwise(edges):
            row = np.full(context, IGNORED, np.int64)
            row[: end - begin] = tokens[begin:end]
            cut.append(row)
    return np.stack(cut)


def inputs_of(targets: np.ndarray, bos: int) -> np.ndarray:
    """Each place sees what comes before it; the first sees BOS, padding sees BOS too."""
    before = np.concatenate((np.full((len(targets), 1), bos), targets[:, :-1]), 1)
    return np.where(before == IGNORED, bos, before)
