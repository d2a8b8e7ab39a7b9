"""Objectives: sums of named, weighted terms, each owned by a player.

``MSE() + 0.5 * KL()`` is an objective. A weight is a number or a schedule.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from isthmus.anatomy.output import Output
from isthmus.anatomy.schedule import Constant, Schedule, as_schedule

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder

MODEL = "model"
"""The player that owns encoder, bottleneck and decoder."""


class Term:
    """One named part of a loss.

    A per-example term returns ``(rows,)`` in ``unit``; repeating the batch leaves its mean
    unchanged. A set-level term (``per_example = False``) returns a scalar and says in
    ``estimator`` how that scalar depends on the batch. ``player`` names whose parameters the term
    trains. ``rebuilds = False`` says that the term never looks at the reconstruction: where no
    term does, the training path does not compute it.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    per_example: ClassVar[bool] = True
    estimator: ClassVar[str] = ""
    rebuilds: ClassVar[bool] = True
    player: str = MODEL

    def __call__(self, model: "Autoencoder", out: Output) -> Tensor:
        raise NotImplementedError

    def __add__(self, other: "Term | Objective") -> "Objective":
        return Objective([Weighted(self)]) + other

    def __mul__(self, weight: "float | Schedule") -> "Objective":
        return Objective([Weighted(self, as_schedule(weight))])

    __rmul__ = __mul__

    def __repr__(self) -> str:
        own = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in own.items())})"


@dataclass(frozen=True)
class Weighted:
    """A term with its weight."""

    term: Term
    weight: Schedule = Constant(1.0)  # noqa: RUF009  (frozen, shared on purpose)


@dataclass
class Losses:
    """A player's loss at one step: the weighted ``total`` and each term's own value."""

    total: Tensor
    terms: dict[str, Tensor]


class Objective:
    """A weighted sum of terms."""

    def __init__(self, parts: list[Weighted]) -> None:
        names = [part.term.name for part in parts]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two terms share the name {twice.pop()!r}: give one another name")
        self.parts = parts

    @property
    def players(self) -> list[str]:
        """The players, in the order in which they step."""
        return list(dict.fromkeys(part.term.player for part in self.parts))

    @property
    def rebuilds(self) -> bool:
        """Whether any term looks at the reconstruction."""
        return any(part.term.rebuilds for part in self.parts)

    def __iter__(self) -> Iterator[Weighted]:
        return iter(self.parts)

    def __add__(self, other: "Term | Objective") -> "Objective":
        more = other.parts if isinstance(other, Objective) else [Weighted(other)]
        return Objective([*self.parts, *more])

    def __mul__(self, factor: float) -> "Objective":
        return Objective([Weighted(p.term, p.weight * factor) for p in self.parts])

    __rmul__ = __mul__

    def __call__(self, model: "Autoencoder", out: Output, player: str = MODEL) -> Losses:
        """The loss of one player. Per-example terms are averaged over the rows."""
        total: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for part in self.parts:
            if part.term.player != player:
                continue
            value = part.term(model, out)
            value = value.mean() if part.term.per_example else value
            terms[part.term.name] = value.detach()
            weight = part.weight(out.clock)
            weighted = value if weight == 1.0 else weight * value
            total = weighted if total is None else total + weighted
        if total is None:
            raise ValueError(f"the objective has no term for the player {player!r}")
        return Losses(total, terms)

    def per_example(self, model: "Autoencoder", out: Output, player: str = MODEL) -> Tensor:
        """Weighted sum of the per-example terms, ``(rows,)``: which rows a loss comes from."""
        total = torch.zeros(len(out.x), device=out.x.device)
        for part in self.parts:
            if part.term.player == player and part.term.per_example:
                total = total + part.weight(out.clock) * part.term(model, out).detach()
        return total

    def describe(self) -> list[dict[str, str]]:
        """Name, unit, weight and player of each term, for the log and the docs."""
        return [
            {
                "term": p.term.name,
                "unit": p.term.unit,
                "weight": str(p.weight.value if isinstance(p.weight, Constant) else p.weight),
                "player": p.term.player,
                "over": "examples" if p.term.per_example else f"the batch ({p.term.estimator})",
            }
            for p in self.parts
        ]


class Critics(nn.ModuleDict):
    """The networks of players other than the model, by player."""
