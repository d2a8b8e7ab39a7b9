"""A small transformer that counts days and months forward, and edits of where it keeps the day."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.activations import Activations
from isthmus.interpretation import spliced
from isthmus.language import Decoder, Shape

CYCLES = {"week": 7, "year": 12}
"""Days and months. As answers each has a token, as questions several words."""
OFFSETS = 12
SPELLINGS = 8
"""Words for each day. Probes are fitted on half of them, and judged and edited on the others."""
SPREAD = 4
"""Answers may be heard in training off by a binomial number of days: so many coins, less half.

Neighbouring days are then alike, as they are in talk. Without it nothing but the answer's
arithmetic shapes the representation, and months come to be stored by remainders.
"""
PLACE = 0
"""Where the day stands: day, offset, mark."""
POINT = "embed"
"""The residual stream as the only layer reads it."""

_OFFSET = sum(CYCLES.values())
_MARK = _OFFSET + OFFSETS
_WORDS = _MARK + 1
SHAPE = Shape(_WORDS + SPELLINGS * _OFFSET, width=64, heads=4, layers=1, context=4, hidden=256)

BATCH = 256
RATE = 3e-3
DECAY = 0.3
COMPONENTS = 5
"""Principal components that the circle is looked for in."""


@dataclass(frozen=True)
class Questions:
    """Rows of tokens, with the day and the offset that each asks about."""

    tokens: Tensor
    day: Tensor
    offset: Tensor
    first: int
    size: int

    def answer(self, day: Tensor | None = None) -> Tensor:
        """The token of the right answer, for another day too."""
        return self.first + ((self.day if day is None else day) + self.offset) % self.size

    def about(self, day: Tensor) -> "Questions":
        """The same rows about another day, spelt alike."""
        tokens = self.tokens.clone()
        tokens[:, PLACE] += SPELLINGS * (day - self.day)
        return replace(self, tokens=tokens, day=day)


def questions(
    cycle: str, rows: int, generator: torch.Generator, spellings: range = range(SPELLINGS)
) -> Questions:
    """Rows of a cycle; days, offsets and spellings are drawn uniformly."""
    size, first = CYCLES[cycle], 0 if cycle == "week" else CYCLES["week"]
    day = torch.randint(size, (rows,), generator=generator)
    offset = torch.randint(1, OFFSETS + 1, (rows,), generator=generator)
    spelling = torch.randint(spellings.start, spellings.stop, (rows,), generator=generator)
    words = _WORDS + SPELLINGS * (first + day) + spelling
    tokens = torch.stack([words, _OFFSET + offset - 1, torch.full((rows,), _MARK)], 1)
    return Questions(tokens, day, offset, first, size)


def untrained(seed: int) -> Decoder:
    """The transformer as it begins."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Decoder(SHAPE).eval()


def trained(steps: int, seed: int, spread: int = 0) -> Decoder:
    """The transformer after ``steps`` batches of both cycles; the loss is that of the answer."""
    model, generator = untrained(seed).train(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, (0.9, 0.98), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 50) * (1.0 - step / steps)
    )
    for _ in range(steps):
        parts = [
            questions(cycle, BATCH * size // _OFFSET, generator) for cycle, size in CYCLES.items()
        ]
        logits = model(torch.cat([part.tokens for part in parts]))[:, -1]
        loss = F.cross_entropy(
            logits, torch.cat([_heard(part, generator, spread) for part in parts])
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def _heard(prompts: Questions, generator: torch.Generator, spread: int) -> Tensor:
    """Answers as they are given in training: right, or ``spread`` coins early or late."""
    coins = torch.randint(2, (len(prompts.day), spread), generator=generator)
    return prompts.answer(prompts.day + coins.sum(1) - spread // 2)


def days_of(model: Decoder, asked: Questions) -> np.ndarray:
    """Activations where the day stands, ``(rows, width)``, float64."""
    activations = Activations(model, POINT)(asked.tokens)[POINT][:, PLACE]
    return activations.double().numpy()


def accuracy(
    model: Decoder, asked: Questions, day: Tensor, edit: Callable[[Tensor], Tensor] | None = None
) -> float:
    """Share of rows answered as for ``day``, where ``edit`` acts on the day's place."""
    mask = torch.zeros(asked.tokens.shape, dtype=torch.bool)
    mask[:, PLACE] = True
    edits: Mapping[str, Callable[[Tensor], Tensor]] = {} if edit is None else {POINT: edit}
    with torch.no_grad(), spliced(model, edits, mask=mask):
        answers = model(asked.tokens)[:, -1].argmax(1)
    return float((answers == asked.answer(day)).double().mean())


@dataclass(frozen=True)
class Circle:
    """A circle in a plane of activation space.

    ``mean`` ``(width,)``; ``plane`` ``(2, width)``, orthonormal; ``read`` ``(2, 2)`` maps
    coordinates in the plane to cosine and sine; the angle of day d is 2 pi ``frequency`` d / size.
    """

    mean: np.ndarray
    plane: np.ndarray
    read: np.ndarray
    frequency: int
    size: int

    @classmethod
    def fit(cls, x: np.ndarray, day: np.ndarray, size: int, *, every: bool = False) -> "Circle":
        """A linear probe of cosine and sine in the first principal components of ``x``.

        Of the frequencies that tell all days apart (of ``every`` one below half the size, if
        asked for), the one that the rows fit best.
        """
        mean = x.mean(0)
        components = np.linalg.svd(x - mean, full_matrices=False)[2][:COMPONENTS]
        inside = (x - mean) @ components.T
        candidates = []
        for frequency in range(1, (size + 1) // 2):
            if math.gcd(frequency, size) > 1 and not every:
                continue
            goal = _on_circle(day, frequency, size)
            probe = np.linalg.lstsq(inside, goal - goal.mean(0), rcond=None)[0]
            axes, read = np.linalg.qr(probe)
            circle = cls(mean, axes.T @ components, read, frequency, size)
            candidates.append((circle.r2(x, day), -frequency, circle))
        return max(candidates, key=lambda one: one[:2])[2]

    def r2(self, x: np.ndarray, day: np.ndarray) -> float:
        """R² of the probe on rows ``x``, cosine and sine together."""
        goal = _on_circle(day, self.frequency, self.size)
        prediction = (x - self.mean) @ self.plane.T @ self.read
        return 1.0 - float(((goal - prediction) ** 2).sum() / ((goal - goal.mean(0)) ** 2).sum())

    def share(self, x: np.ndarray) -> float:
        """Share of the variance of ``x`` that lies in the plane."""
        centred = x - self.mean
        return float(((centred @ self.plane.T) ** 2).sum() / (centred**2).sum())

    def coordinates(self, day: np.ndarray) -> np.ndarray:
        """Where in the plane the probe reads that day, ``(rows, 2)``."""
        return _on_circle(day, self.frequency, self.size) @ np.linalg.inv(self.read)

    def only(self, day: np.ndarray, plane: np.ndarray | None = None) -> Callable[[Tensor], Tensor]:
        """An edit: the mean activation, but for the day on the circle (in ``plane``, if given)."""
        plane = self.plane if plane is None else plane
        return _placed(self.mean + self.coordinates(day) @ plane)

    def moved(self, day: np.ndarray, x: np.ndarray) -> Callable[[Tensor], Tensor]:
        """An edit of activations ``x``: the circle's coordinates overwritten, the rest kept."""
        now = (x - self.mean) @ self.plane.T
        return _placed(x + (self.coordinates(day) - now) @ self.plane)


def replaced(x: np.ndarray) -> Callable[[Tensor], Tensor]:
    """An edit that puts the activations ``x`` ``(rows, width)`` in place."""
    return _placed(x)


def _placed(new: np.ndarray) -> Callable[[Tensor], Tensor]:
    rows = torch.from_numpy(new).float()
    return lambda x: rows[:, None].expand_as(x)


def _on_circle(day: np.ndarray, frequency: int, size: int) -> np.ndarray:
    angle = 2 * np.pi * frequency * day / size
    return np.stack([np.cos(angle), np.sin(angle)], 1)
