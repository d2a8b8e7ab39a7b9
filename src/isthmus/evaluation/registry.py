"""Which measures suit which kind of code: a table that new kinds of code add to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from isthmus.anatomy import Autoencoder, Code, Tree
from isthmus.anatomy import Batch as Rows
from isthmus.evaluation.result import Result


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch as measures see it.

    ``x`` is in the user's units and ``scaled`` in the model's, both ``(rows, *shape)`` or trees;
    ``code`` is the deterministic code, ``params`` what the decoder made of it (None without a
    decoder), with the batch at hand where it asks for that. ``target`` is what was to be rebuilt,
    in the model's units, ``mask`` which of it is observed (None where all is). ``rows`` is the
    batch as the source gave it.
    """

    x: Tree
    scaled: Tree
    code: Code
    params: Tree | None
    target: Tree
    mask: Tree | None
    rows: Rows

    @classmethod
    def of(cls, model: Autoencoder, x: Tree | Rows) -> "Batch":
        """Push checked rows through the model."""
        rows = x if isinstance(x, Rows) else Rows(x)
        told = model.told(rows)
        return cls(rows.x, told.scaled.x, told.code, told.params, told.target, told.mask, rows)


@dataclass(frozen=True, eq=False)
class Setting:
    """What a measure is built from: the model, the first batch, and the options of ``evaluate``."""

    model: Autoencoder
    first: Batch
    samples: int
    seed: int


class Measure(Protocol):
    """A streamed measure: sees every batch once, in order, without gradients."""

    def update(self, batch: Batch) -> None: ...

    def results(self) -> list[Result]: ...


Factory = Callable[[Setting], Measure | None]
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


def measures_for(setting: Setting) -> list[Measure]:
    """The measures that suit a model, those of the most general kind of code first."""
    kinds = reversed(type(setting.first.code).__mro__)
    factories = [factory for kind in kinds for factory in _TABLE.get(kind, [])]
    built = [factory(setting) for factory in factories]
    return [measure for measure in built if measure is not None]
