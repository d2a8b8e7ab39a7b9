"""Recipes: how a page registers itself, and how options reach it."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from torch import nn

from isthmus.anatomy import Autoencoder, Scaler, Scaling, Signal
from isthmus.errors import IsthmusError, unknown
from isthmus.training import TrainingOptions

Build = Callable[..., Autoencoder]
M = TypeVar("M", bound=BaseModel)
AutoScaling = Literal["auto", "none", "columns", "global", "norm"]


@dataclass(frozen=True)
class Recipe:
    """One published system: how to build it, and its page.

    ``defaults`` are the published training options; ``scaling`` is what ``scaling=auto`` means for
    vectors whose values leave [0, 1] (images and unit data are left as they are, except by a
    recipe whose ``scaling`` is one factor, for which direction is all that matters).
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

    @property
    def doc(self) -> str:
        """The page's docstring."""
        return inspect.getdoc(self.build_function) or ""

    @property
    def idea(self) -> str:
        """The first sentence of the docstring."""
        return self.doc.split("\n\n")[0].replace("\n", " ")

    def parse(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], TrainingOptions]:
        """Split flat options into validated model and training options.

        An unknown name or a value out of range is an :class:`IsthmusError`.
        """
        model_names, training_names = self.model_options.model_fields, TrainingOptions.model_fields
        for name in options:
            if name not in model_names and name not in training_names:
                raise unknown(
                    f"option of the recipe {self.name!r}", name, [*model_names, *training_names]
                )
        given = {k: v for k, v in options.items() if k in model_names}
        training = {k: v for k, v in options.items() if k in training_names}
        if "steps" in training and "epochs" not in training:
            training["epochs"] = None
        if "epochs" in training and "steps" not in training:
            training["steps"] = None
        model = validated(self.model_options, given)
        chosen = {name: getattr(model, name) for name in model_names}
        return chosen, validated(TrainingOptions, {**self.defaults, **training})

    def build(self, signal: Signal, options: Mapping[str, Any]) -> Autoencoder:
        """The untrained model for a signal; ``options`` as :meth:`parse` returned them."""
        options = dict(options)
        mode = self._scaling(options.pop("scaling"), signal)
        inner = signal if mode == "none" else replace(signal, low=None, high=None)
        model = self.build_function(inner, **options)
        model.signal = signal
        model.scaler = Scaler(signal.shape, mode)
        return model

    def _scaling(self, asked: AutoScaling, signal: Signal) -> Scaling:
        if asked != "auto":
            return asked
        if self.scaling in ("global", "norm"):
            return self.scaling
        return self.scaling if signal.kind == "vector" and not signal.is_unit else "none"


_RECIPES: dict[str, Recipe] = {}


def recipe(
    name: str,
    *,
    family: str,
    paper: str,
    formula: str,
    claim: str,
    catalogue: int | None = None,
    training: Mapping[str, Any] | None = None,
    scaling: Scaling = "columns",
) -> Callable[[Build], Build]:
    """Register the decorated function, ``(signal, *, options...) -> Autoencoder``, as a recipe.

    Its keyword arguments, with their annotations and defaults, are the recipe's options;
    ``training`` holds the published training options.
    """

    def register(function: Build) -> Build:
        if name in _RECIPES:
            raise ValueError(f"two recipes are called {name!r}")
        options = _options_model(name, function)
        clash = set(options.model_fields) & set(TrainingOptions.model_fields)
        if clash:
            raise ValueError(f"{name}: {clash} are already training options")
        defaults = dict(training or {})
        validated(TrainingOptions, defaults)
        _RECIPES[name] = Recipe(
            name, family, catalogue, paper, formula, claim, function, options, defaults, scaling
        )
        return function

    return register


def _options_model(name: str, function: Build) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise ValueError(f"{name}: the option {parameter.name!r} must be keyword-only")
        fields[parameter.name] = (parameter.annotation, parameter.default)
    fields["scaling"] = (
        AutoScaling,
        Field(
            "auto",
            description="columns: mean 0, variance 1; global, norm: one factor for all",
        ),
    )
    config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True
    )
    return create_model(name, __config__=config, **fields)


def validated(model: type[M], values: Mapping[str, Any]) -> M:
    """A pydantic model, its complaint as one sentence."""
    try:
        return model(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IsthmusError(
            f"the option {place}={first['input']!r} is not allowed: {first['msg']}"
        ) from None


@cache
def _discover() -> None:
    import isthmus.recipes as package

    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)


def recipes(word: str | None = None) -> dict[str, Recipe]:
    """All recipes by name, or those whose name, family or page contains ``word``."""
    _discover()
    found = dict(sorted(_RECIPES.items()))
    if word is None:
        return found
    word = word.lower()
    return {
        n: r
        for n, r in found.items()
        if any(word in text.lower() for text in (n, r.family, r.paper, r.doc))
    }


def get_recipe(name: str) -> Recipe:
    """The recipe of that name; an error offers the nearest one."""
    known = recipes()
    if name not in known:
        raise unknown("recipe", name, known)
    return known[name]


def option_table(model: type[BaseModel], defaults: Mapping[str, Any]) -> list[dict[str, str]]:
    """Name, type, default and description of each option, for pages and the command line."""
    rows = []
    for name, info in model.model_fields.items():
        default = defaults.get(name, info.get_default(call_default_factory=True))
        rows.append(
            {
                "name": name,
                "type": _type_name(info),
                "default": "none" if default is None else str(default),
                "description": info.description or "",
            }
        )
    return rows


def _type_name(info: FieldInfo) -> str:
    return _named(info.annotation)


def _named(kind: Any) -> str:
    """A type as a reader of a page wants it: ``int or none``, ``a | b``, ``tuple of int``."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _named(inside[0])
    if origin is Literal:
        return " | ".join(map(str, inside))
    if origin in (Union, UnionType):
        return " or ".join(_named(part) for part in inside)
    if origin in (tuple, list):
        return "list of " + _named(inside[0])
    if kind is type(None):
        return "none"
    return getattr(kind, "__name__", str(kind))


def module_options(options: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Those options that are modules of the user's own: they cannot be stored in a checkpoint."""
    return {name: value for name, value in options.items() if isinstance(value, nn.Module)}
