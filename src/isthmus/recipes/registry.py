"""Recipes: how a page registers itself, and everything that can stand where a recipe's name can."""

import contextlib
import copy
import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from isthmus.anatomy import Autoencoder, Scaling, Signal
from isthmus.errors import IsthmusError, unknown
from isthmus.recipes import origin
from isthmus.recipes.scaling import as_scaled, modes_of, rescale, scale_own, scaler_of
from isthmus.recipes.signature import (
    literals,
    module_options,
    only_scaling,
    option_table,
    options_model,
    validated,
)
from isthmus.spelling import known_names, known_value
from isthmus.training import TrainingOptions

Build = Callable[..., Autoencoder]

KINDS = {
    "vector": "vectors",
    "image": "images",
    "series": "series",
    "set": "sets",
    "coordinates": "coordinates",
    "tokens": "tokens (text)",
    "graph": "graphs",
    "collection": "a collection of named parts",
    "ragged": "rows of different lengths",
}
"""What each kind of signal is called in a sentence."""

REAL = ("vector", "image", "series", "set", "coordinates")
"""The kinds of signal that are a rectangle of real numbers."""

__all__ = [
    "Recipe", "RecipeLike", "as_recipe", "broken_recipes", "get_recipe", "list_recipes",
    "module_options", "option_table", "recipe", "recipes", "validated",
]  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """One system: how to build it, and its page.

    ``defaults`` are the published training options; ``scaling`` is what ``scaling=auto`` means for
    vectors whose values leave [0, 1] (images and unit data are left as they are, except by a
    recipe whose ``scaling`` is one factor, for which direction is all that matters).
    ``reads_signal`` says that ``build_function`` takes the signal; without, it knows its own.
    ``kinds`` are the kinds of signal that it reads, ``ragged`` among them where rows of real
    numbers may differ in length; ``given`` what it wants beside the examples, such as a label.
    ``solved`` says that its models have a solver, which no option of training by steps concerns.
    ``source`` is ``package.module:function``. ``model`` is set where the recipe is an autoencoder
    that somebody passed: it builds copies of that.
    """

    name: str
    family: str
    catalogue: int | None
    paper: str
    formula: str
    claim: str
    build_function: Build
    model_options: type[BaseModel]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    scaling: Scaling = "columns"
    reads_signal: bool = True
    source: str = ""
    model: Autoencoder | None = None
    kinds: tuple[str, ...] = REAL
    given: tuple[str, ...] = ()
    solved: bool = False

    @property
    def doc(self) -> str:
        """The page's docstring."""
        if type(self.model) is Autoencoder:  # whose own docstring says nothing about this one
            return ""
        return inspect.getdoc(self.build_function if self.model is None else self.model) or ""

    @property
    def idea(self) -> str:
        """The first sentence of the docstring."""
        return self.doc.split("\n\n")[0].replace("\n", " ")

    @property
    def builtin(self) -> bool:
        """Whether it is one of this library's own."""
        return self.source.startswith("isthmus.recipes.")

    @property
    def importable(self) -> bool:
        """Whether another process can import it by ``source``."""
        module, _, path = self.source.partition(":")
        if not path or "<" in path or module in ("", "__main__") or module not in sys.modules:
            return False
        try:
            named_object = origin.attribute(sys.modules[module], path)
        except AttributeError:
            return False
        return named_object is (self.build_function if self.model is None else self.model)

    @property
    def where(self) -> str:
        """``package.module:function``, with the distribution where one is known."""
        package = origin.distribution(self.source.partition(":")[0])
        return self.source if package is None else f"{self.source} ({' '.join(package)})"

    def spelt(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with those of the recipe and of training by their names here.

        American spellings (``optimizer``, ``scaling="centered"``) are understood; an option in
        both at once is an :class:`IsthmusError`.
        """
        fields = {**self.model_options.model_fields, **TrainingOptions.model_fields}
        known_options = known_names(options, fields)
        return {
            name: known_value(value, literals(fields[name].annotation)) if name in fields else value
            for name, value in known_options.items()
        }

    def parse(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], TrainingOptions]:
        """Split flat options into validated model and training options.

        An unknown name or a value out of range is an :class:`IsthmusError`.
        """
        options = self.spelt(options)
        model_names, training_names = self.model_options.model_fields, TrainingOptions.model_fields
        what = (
            "training option" if self.model is not None else f"option of the recipe {self.name!r}"
        )
        for name in options:
            if name not in model_names and name not in training_names:
                raise unknown(what, name, [*model_names, *training_names])
        given = {k: v for k, v in options.items() if k in model_names}
        training = {k: v for k, v in options.items() if k in training_names}
        if "steps" in training and "epochs" not in training:
            training["epochs"] = None
        if "epochs" in training and "steps" not in training:
            training["steps"] = None
        model = validated(self.model_options, given)
        model_options = {name: getattr(model, name) for name in model_names}
        return model_options, validated(TrainingOptions, {**self.defaults, **training})

    def build(self, signal: Signal, options: Mapping[str, Any]) -> Autoencoder:
        """The untrained model for a signal; ``options`` as :meth:`parse` returned them."""
        options = dict(options)
        scaling = options.pop("scaling")
        if not self.reads_signal:
            model = self._made(**options)
            if not model.signal.accepts(signal):
                raise IsthmusError(
                    f"the data are {signal}, and the model of {self.name} reads {model.signal}: "
                    "pass rows that fit"
                )
            scale_own(model, scaling, signal)
            return model
        self._check_kind(signal)
        scaler = scaler_of(signal, scaling, self.scaling)
        model = self._made(as_scaled(signal, scaler), **options)
        model.signal = signal
        if scaling != "auto" or not model.scaler_given:
            rescale(model, modes_of(scaler))
        model.scaler_given = True
        return model

    def _check_kind(self, signal: Signal) -> None:
        """An error for data of a kind that the recipe does not read."""
        if signal.kind in self.kinds and not (signal.ragged and signal.is_real):
            return
        if signal.kind == "series" and signal.ragged and "ragged" in self.kinds:
            return
        reads = " or ".join(KINDS[kind] for kind in self.kinds)
        if signal.kind == "collection":
            raise IsthmusError(
                f"the recipe {self.name!r} reads {reads}, and the data are a collection of "
                f"{', '.join(map(repr, signal.parts))}: pass one of them, or choose a recipe that "
                "reads a collection"
            )
        given = KINDS["ragged" if signal.ragged and signal.is_real else signal.kind]
        if signal.ragged and signal.is_real:
            raise IsthmusError(
                f"the recipe {self.name!r} reads {reads}, and the data are {given}: cut or fill "
                "them to one length, np.stack([x[:n] for x in X]), take every step as a row, "
                f"np.concatenate(X), or choose {_reading_ragged()}, which reads them as they are"
            )
        if "tokens" in self.kinds and signal.kind in REAL and signal.dtype.startswith("int"):
            raise IsthmusError(
                f"the recipe {self.name!r} reads {reads}, and the data are {given} of whole "
                'numbers: say that they are tokens, isthmus.data.as_source(X, kind="tokens")'
            )
        raise IsthmusError(
            f"the recipe {self.name!r} reads {reads}, and the data are {given}: choose a recipe "
            "that reads these"
        )

    def _made(self, *signal: Signal, **options: Any) -> Autoencoder:
        model = self.build_function(*signal, **options)
        if not isinstance(model, Autoencoder):
            raise IsthmusError(
                f"{self.name} returned a {type(model).__name__}: a recipe returns an Autoencoder"
            )
        return model


RecipeLike = str | Recipe | Build | Autoencoder
"""What can stand where a recipe's name can: a registered name, ``package.module:function``, such
a function, a recipe, or an autoencoder."""

_RECIPES: dict[str, Recipe] = {}
_BY_FUNCTION: dict[Any, Recipe] = {}
_BROKEN: dict[str, str] = {}
"""Names that cannot be had, each with the sentence that says why."""
_importing = False
"""Whether packages are imported for the recipes in them: then a name given twice is noted."""


def recipe(
    name: str,
    *,
    family: str = "own",
    paper: str = "",
    formula: str = "",
    claim: str = "",
    catalogue: int | None = None,
    training: Mapping[str, Any] | None = None,
    scaling: Scaling = "columns",
    kinds: tuple[str, ...] = REAL,
    given: tuple[str, ...] = (),
    solved: bool = False,
) -> Callable[[Build], Build]:
    """Register the decorated function, ``(signal, *, options...) -> Autoencoder``, as a recipe.

    Its keyword arguments, with their annotations and defaults, are the recipe's options;
    ``training`` holds the published training options, ``kinds`` the kinds of signal that it reads
    (by default those of real numbers; a collection, tokens, graphs and ``ragged`` rows have to be
    named), ``given`` what it asks for beside the examples, and ``solved`` that its models have a
    solver. A name that another function has already
    is an :class:`IsthmusError`; defining the same function anew replaces it.
    """

    def register(function: Build) -> Build:
        entry = _of_function(
            function, name, family=family, paper=paper, formula=formula, claim=claim,
            catalogue=catalogue, defaults=dict(training or {}), scaling=scaling, kinds=kinds,
            given=given, solved=solved,
        )  # fmt: skip
        _BY_FUNCTION[function] = entry
        _register(entry)
        return function

    return register


def _register(entry: Recipe) -> None:
    if not entry.builtin:
        _discover()  # so that a name of this library's own is known to be taken
    namesake = _RECIPES.get(entry.name)
    if namesake is None or namesake.source == entry.source:
        _RECIPES[entry.name] = entry
        return
    sentence = (
        f"two recipes are called {entry.name!r}, {namesake.where} and {entry.where}: name one of "
        "them by its 'package.module:function'"
    )
    if not _importing:
        raise IsthmusError(sentence)
    _BROKEN[entry.name] = sentence


def _of_function(function: Build, name: str | None = None, **page: Any) -> Recipe:
    called = getattr(function, "__qualname__", type(function).__qualname__)
    name = name or called.rpartition(".")[2].strip("<>")
    options, reads_signal = options_model(name, function)
    defaults = page.pop("defaults", {})
    validated(TrainingOptions, defaults)
    about = {"family": "own", "catalogue": None, "paper": "", "formula": "", "claim": "", **page}
    return Recipe(
        name, build_function=function, model_options=options, defaults=defaults,
        reads_signal=reads_signal, source=f"{function.__module__}:{called}", **about,
    )  # fmt: skip


def _of_model(model: Autoencoder, name: str | None = None, source: str = "") -> Recipe:
    def build() -> Autoencoder:
        try:
            return copy.deepcopy(model)
        except RuntimeError as problem:
            raise IsthmusError(
                f"the autoencoder {name} cannot be copied ({origin.reason(problem)}): pass the "
                "function that builds it"
            ) from problem

    name = name or type(model).__name__
    return Recipe(
        name, "own", None, "", "", "", build, only_scaling(name), reads_signal=False,
        source=source, model=model,
    )  # fmt: skip


@cache
def _discover() -> None:
    """Import every page of this library."""
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], "isthmus.recipes."):
        importlib.import_module(module.name)


@contextlib.contextmanager
def _imports() -> Iterator[None]:
    global _importing
    before, _importing = _importing, True
    try:
        yield
    finally:
        _importing = before


@cache
def _discover_packages() -> None:
    """Import what packages offer; one that fails is noted, and the others go on."""
    for point in origin.entry_points():
        try:
            with _imports():
                offer = point.load()
                if not isinstance(offer, ModuleType):
                    _register(_of_anything(offer, point.name, f"{point.module}:{point.attr}"))
        except Exception as problem:  # whatever that package does when it is imported
            package = origin.package_of(point)
            _BROKEN[point.name] = (
                f"the recipe {point.name!r} of the package {package} cannot be had "
                f"({origin.reason(problem)}): mend or uninstall that package"
            )


def _known() -> dict[str, Recipe]:
    _discover()
    _discover_packages()
    return {n: r for n, r in sorted(_RECIPES.items()) if n not in _BROKEN or r.builtin}


def broken_recipes() -> dict[str, str]:
    """Names that installed packages promise and that cannot be had, with a sentence on each."""
    _known()
    return dict(sorted(_BROKEN.items()))


def list_recipes(word: str | None = None) -> dict[str, Recipe]:
    """All recipes by name, or those whose name, family or page contains ``word``.

    This library's, those registered in this process, and those that installed packages offer by
    the entry point group ``isthmus.recipes``. A package that cannot be imported is a warning.
    """
    entries = _known()
    for sentence in _BROKEN.values():
        warnings.warn(sentence, stacklevel=2)
    if word is None:
        return entries
    word = word.lower()
    return {
        n: r
        for n, r in entries.items()
        if any(word in text.lower() for text in (n, r.family, r.paper, r.doc))
    }


recipes = list_recipes


def get_recipe(name: str) -> Recipe:
    """The recipe registered by that name; an error offers the nearest one."""
    known = _known()
    if name in known:
        return known[name]
    if name in _BROKEN:
        raise IsthmusError(_BROKEN[name])
    if "." in name:
        module, _, last = name.rpartition(".")
        raise IsthmusError(
            f"unknown recipe {name!r}: a function of a package is written '{module}:{last}'"
        )
    raise unknown("recipe", name, known)


def _reading_ragged() -> str:
    """The recipes that read rows of different lengths, by name, for a sentence."""
    names = sorted(name for name, one in _known().items() if "ragged" in one.kinds)
    if not names:
        return "a recipe of your own with kinds=('ragged',)"
    return ", ".join(names[:-1]) + (" or " if names[1:] else "") + "".join(names[-1:])


def as_recipe(found: RecipeLike) -> Recipe:
    """The recipe that something stands for.

    A registered name; ``package.module:function``, which is imported; a function ``(signal, *,
    options...) -> Autoencoder``, decorated or not; a recipe; or an autoencoder, of which copies
    are trained. Raises :class:`IsthmusError` for anything else.
    """
    if isinstance(found, str):
        if ":" not in found:
            return get_recipe(found)
        with _imports():
            return _of_anything(origin.imported(found), None, found)
    return _of_anything(found)


def _of_anything(thing: Any, name: str | None = None, source: str = "") -> Recipe:
    if isinstance(thing, Recipe):
        return thing
    if isinstance(thing, Autoencoder):
        return _of_model(thing, name or source.rpartition(":")[2].rpartition(".")[2], source)
    if callable(thing):
        known = _BY_FUNCTION.get(thing) if isinstance(thing, Hashable) else None
        if known is not None:
            return known
        entry = _of_function(thing, name)
        # A function that was wrapped, or made by another, may only be known by the name asked for.
        return entry if entry.importable or not source else replace(entry, source=source)
    what = f"a {type(thing).__name__}" if not source else f"{source!r}, a {type(thing).__name__},"
    raise IsthmusError(
        f"{what} is no recipe: pass a name, 'package.module:function', a function that returns an "
        "Autoencoder, or an Autoencoder"
    )
