"""Which measures suit which kind of code: a table that new kinds of code add to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from isthmus.anatomy import Autoencoder, Batch, Code, Tree
from isthmus.evaluation.result import Result


@dataclass(frozen=True, eq=False)
class MeasuredBatch:
    """One batch as measures see it.

    ``x`` is in the user's units and ``scaled`` in the model's, both ``(rows, *shape)`` or trees;
    ``code`` is the deterministic code, ``params`` what the decoder made of it (None without a
    decoder). ``target`` is what is to be rebuilt, in the model's units, and ``mask`` says what of
    it is observed (None: all). ``rows`` is the batch as it came, with what was given.
    """

    x: Tree
    scaled: Tree
    code: Code
    params: Tree
    target: Tree
    mask: Tree
    rows: Batch

    @classmethod
    def of(cls, model: Autoencoder, rows: Batch) -> "MeasuredBatch":
        """Push checked rows through the model."""
        return cls(rows.x, *model.looked_at(rows), rows)


@dataclass(frozen=True, eq=False)
class MeasureOptions:
    """What a measure is built from: the model, the first batch, and the options of ``evaluate``."""

    model: Autoencoder
    first: MeasuredBatch
    samples: int
    seed: int


class Measure(Protocol):
    """A streamed measure: sees every batch once, in order, without gradients."""

    def update(self, batch: MeasuredBatch) -> None: ...

    def results(self) -> list[Result]: ...


Factory = Callable[[MeasureOptions], Measure | None]
"""Builds a measure for a model, or returns None where it does not apply."""

_F = TypeVar("_F", bound=Factory)
_TABLE: dict[type[Code], list[Factory]] = {}


def measures(kind: type[Code]) -> Callable[[_F], _F]:
    """Decorator: ``evaluate`` uses this factory for codes of that kind and of its subclasses.

    A factory is a function or a class that takes a :class:`Setting`. Where a subclass registers a
    measure whose results carry the names of its parent's, the subclass's are reported.
    """

    def add(factory: _F) -> _F:
        _TABLE.setdefault(kind, []).append(factory)
        return factory

    return add


def measures_for(setting: MeasureOptions) -> list[Measure]:
    """The measures that suit a model, those of the most general kind of code first."""
    kinds = reversed(type(setting.first.code).__mro__)
    factories = [factory for kind in kinds for factory in _TABLE.get(kind, [])]
    built = [factory(setting) for factory in factories]
    return [measure for measure in built if measure is not None]
