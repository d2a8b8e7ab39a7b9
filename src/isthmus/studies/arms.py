"""What a declared claim compares: models that are fitted, and controls made of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from isthmus.anatomy import Autoencoder
from isthmus.recipes import RecipeLike
from isthmus.studies.trial import Trial


@runtime_checkable
class Subject(Protocol):
    """What a bench can measure: a model, or a control that encodes and decodes as one does."""

    def encode(self, X: Any) -> Any:
        """Codes of rows."""

    def decode(self, Z: Any) -> Any:
        """Rows of codes."""

    def reconstruct(self, X: Any) -> Any:
        """Rows, through the code."""


@dataclass(frozen=True)
class Ground:
    """One seed's data on a bench.

    ``rows`` are fitted to, ``held`` are measured on; ``known`` has what else is known of them
    (planted directions, labels), by name.
    """

    rows: Any
    held: Any
    seed: int
    known: Mapping[str, Any] = field(default_factory=dict)


Option = Any | Callable[[Ground], Any]


class Fit:
    """A recipe fitted to the bench's rows.

    Options are those of :func:`isthmus.fit`; a function among them is called with the ground, for
    what depends on the data. ``text`` is what a reader is told, by default recipe and options.
    """

    def __init__(self, recipe: RecipeLike, text: str = "", **options: Option) -> None:
        self.recipe, self.options = recipe, options
        description = ", ".join(f"{name} = {value}" for name, value in options.items())
        called = recipe if isinstance(recipe, str) else getattr(recipe, "__name__", "own model")
        self.text: str = text or (f"{called}, {description}" if description else called)

    def wanted(self, name: str, ground: Ground, trial: Trial) -> dict[str, Any]:
        """All options of its fit: those that arms share, its own, and the rate chosen for it."""
        options = {**trial.shared, **self.options}
        settings = {n: v(ground) if isinstance(v, FunctionType) else v for n, v in options.items()}
        return {**settings, "lr": trial.rates[name]} if name in trial.rates else settings

    def make(self, name: str, ground: Ground, trial: Trial, **others: Any) -> Autoencoder:
        """Fit it; ``others`` take precedence over all of its options."""
        settings = {**self.wanted(name, ground, trial), **others}
        return trial.fit(self.recipe, ground.rows, **settings)


@dataclass(frozen=True)
class Control:
    """An arm made of others: ``make`` is given the arms so far, the ground and the trial.

    ``of`` is the arm that it is made of, empty where it is made of the ground alone.
    """

    text: str
    make: Callable[[Mapping[str, Subject], Ground, Trial], Subject]
    of: str = ""


Arm = Fit | Control


@dataclass(frozen=True)
class Coded:
    """A subject of two functions: rows to codes, codes to rows."""

    encoder: Callable[[np.ndarray], np.ndarray]
    decoder: Callable[[np.ndarray], np.ndarray]

    def encode(self, X: Any) -> np.ndarray:
        """Codes of rows."""
        return self.encoder(np.asarray(X))

    def decode(self, Z: Any) -> np.ndarray:
        """Rows of codes."""
        return self.decoder(np.asarray(Z))

    def reconstruct(self, X: Any) -> np.ndarray:
        """Rows, through the code."""
        return self.decode(self.encode(X))


@dataclass(frozen=True)
class Bench:
    """Data, their split, and measures by name: what several claims are checked on.

    ``open`` makes the ground of a trial's seed. A measure is a function of a subject and the
    ground; one that gives a mapping has several names of its own.
    """

    name: str
    setting: str
    open: Callable[[Trial], Ground]
    measures: Mapping[str, Callable[[Subject, Ground], float | Mapping[str, float]]]
    needs: tuple[str, ...] = ()

    def measured(
        self, subject: Subject, ground: Ground, names: tuple[str, ...]
    ) -> dict[str, float]:
        """The named measures of a subject, as plain numbers."""
        figures: dict[str, float] = {}
        for name in names:
            measure = self.measures[name](subject, ground)
            values = dict(measure) if isinstance(measure, Mapping) else {name: float(measure)}
            twice = figures.keys() & values.keys()
            if twice:
                raise ValueError(
                    f"two measures of the bench {self.name!r} are called {min(twice)!r}"
                )
            figures |= values
        return figures
