"""Objectives: sums of named, weighted terms, each owned by a player.

``MSE() + 0.5 * KL()`` is an objective. A weight is a number or a schedule. ``Watch(L0())`` is
logged and weighs nothing.
"""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from isthmus.anatomy.batch import MODEL
from isthmus.anatomy.output import Output
from isthmus.anatomy.part import Part
from isthmus.anatomy.schedule import Constant, Schedule, as_schedule
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder


class Term(Part):
    """One named part of a loss: ``forward(model, out)``.

    A per-example term returns ``(rows,)`` in ``unit``; repeating the batch leaves its mean
    unchanged. A set-level term (``per_example = False``) returns a scalar and says in
    ``estimator`` how that scalar depends on the batch. ``player`` names whose parameters the term
    trains. ``rebuilds = False`` says that the term never looks at the reconstruction: where no
    term does, the training path does not compute it.

    A term is a :class:`Part`: parameters and buffers that it makes are trained and saved with the
    model.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    per_example: ClassVar[bool] = True
    estimator: ClassVar[str] = ""
    rebuilds: bool = True
    player: str = MODEL

    def __new__(cls, *args: Any, **options: Any) -> Self:
        # A term of few lines need not call the __init__ of its base.
        term = super().__new__(cls)
        nn.Module.__init__(term)
        return term

    def forward(self, model: "Autoencoder", out: Output) -> Tensor:
        raise NotImplementedError

    def __add__(self, other: "Term | Objective") -> "Objective":
        return Objective([Weighted(self)]) + other

    def __mul__(self, weight: "float | Schedule") -> "Objective":
        return Objective([Weighted(self, as_schedule(weight))])

    __rmul__ = __mul__

    def __repr__(self) -> str:
        hidden = vars(nn.Module())
        options = {k: v for k, v in vars(self).items() if k not in hidden and not k.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in options.items())})"


class Watch(Term):
    """Logs what a term says and adds nothing to the loss; no gradients are recorded for it."""

    name = "watch"  # replaced by the term's own
    unit = ""

    def __init__(self, term: Term) -> None:
        self.term = term
        self.name, self.unit = term.name, term.unit  # type: ignore[misc]
        self.per_example, self.estimator = term.per_example, term.estimator  # type: ignore[misc]
        self.rebuilds, self.player = term.rebuilds, term.player

    def forward(self, model: "Autoencoder", out: Output) -> Tensor:
        with torch.no_grad():
            value: Tensor = self.term(model, out)
        return value


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


class Objective(nn.Module):
    """A weighted sum of terms, whose state it owns.

    ``MSE() + 0.1 * L1()`` makes one; a term by itself serves as an objective too.
    """

    def __init__(self, parts: Iterable[Weighted]) -> None:
        super().__init__()
        parts = list(parts)
        for part in parts:
            for word in ("name", "unit"):
                if not isinstance(getattr(part.term, word, None), str):
                    raise IsthmusError(
                        f"the term {type(part.term).__name__} has no {word}: write {word} = ... "
                        "in its class"
                    )
            _check_call(part.term)
        names = [part.term.name for part in parts]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two terms share the name {twice.pop()!r}: give one another name")
        self.terms = nn.ModuleList([part.term for part in parts])
        self.weights = [part.weight for part in parts]

    @property
    def parts(self) -> list[Weighted]:
        """The terms with their weights."""
        return list(self)

    @property
    def players(self) -> list[str]:
        """The players, in the order in which they step."""
        terms = [p for p in self if not isinstance(p.term, Watch)]
        return list(dict.fromkeys(part.term.player for part in terms))

    @property
    def rebuilds(self) -> bool:
        """Whether any term looks at the reconstruction."""
        return any(part.term.rebuilds for part in self)

    def __iter__(self) -> Iterator[Weighted]:
        for term, weight in zip(self.terms, self.weights, strict=True):
            yield Weighted(term, weight)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.weights)

    def __add__(self, other: "Term | Objective") -> "Objective":
        return Objective([*self, *as_objective(other)])

    def __mul__(self, factor: float) -> "Objective":
        return Objective([Weighted(p.term, p.weight * factor) for p in self])

    __rmul__ = __mul__

    def forward(self, model: "Autoencoder", out: Output, player: str = MODEL) -> Losses:
        """The loss of one player. Per-example terms are averaged over the rows."""
        total: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for part in self:
            if part.term.player != player:
                continue
            value = part.term(model, out)
            if not isinstance(value, Tensor) or value.ndim != int(part.term.per_example):
                raise _unfit(part.term, value)
            value = value.mean() if part.term.per_example else value
            terms[part.term.name] = value.detach()
            if isinstance(part.term, Watch):
                continue
            weight = part.weight(out.clock)
            weighted = _times(weight, value)
            total = weighted if total is None else total + weighted
        if total is None:
            raise ValueError(f"the objective has no term for the player {player!r}")
        return Losses(total, terms)

    def per_example(self, model: "Autoencoder", out: Output, player: str = MODEL) -> Tensor:
        """Weighted sum of the per-example terms, ``(rows,)``: which rows a loss comes from."""
        total = torch.zeros(out.rows, device=out.device)
        for part in self:
            term = part.term
            if term.player == player and term.per_example and not isinstance(term, Watch):
                total = total + part.weight(out.clock) * term(model, out).detach()
        return total

    def describe(self) -> list[dict[str, str]]:
        """Name, unit, weight and player of each term, for the log and the docs."""
        return [
            {
                "term": p.term.name,
                "unit": p.term.unit,
                "weight": _said(p),
                "player": p.term.player,
                "over": "examples" if p.term.per_example else f"the batch ({p.term.estimator})",
            }
            for p in self
        ]


def _check_call(term: Term) -> None:
    """An error for a term whose forward cannot be called with a model and an output."""
    try:
        inspect.signature(term.forward).bind(None, None)
    except TypeError:
        signature = f"{type(term).__name__}.forward{inspect.signature(term.forward)}"
        raise IsthmusError(
            f"the term {term.name} is called with the model and the output, and {signature} cannot "
            "be: write forward(self, model, out)"
        ) from None
    except ValueError:  # a call that does not tell its signature
        return


def _unfit(term: Term, value: Any) -> IsthmusError:
    """What to say of a term's value that is none."""
    what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    if term.per_example:
        remedy = "(rows,), one value per example: or say per_example = False and estimator = ..."
    else:
        remedy = "a scalar, since it says per_example = False"
    return IsthmusError(f"the term {term.name} returned {what}: return {remedy}")


def as_objective(given: Term | Objective) -> Objective:
    """An objective from an objective or a term."""
    return given if isinstance(given, Objective) else Objective([Weighted(given)])


def _times(weight: float | Tensor, value: Tensor) -> Tensor:
    """A weight may be held on the device: nothing waits for it."""
    if isinstance(weight, Tensor):
        return weight.to(value.dtype) * value
    return value if weight == 1.0 else weight * value


def _said(part: Weighted) -> str:
    if isinstance(part.term, Watch):
        return "watched"
    return str(part.weight.value if isinstance(part.weight, Constant) else part.weight)


class Critics(nn.ModuleDict):
    """The networks of players other than the model, by player."""
