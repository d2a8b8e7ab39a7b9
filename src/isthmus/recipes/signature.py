"""What a builder's signature says: its options, their types and defaults, and how they are read."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import nn

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.training import TrainingOptions

M = TypeVar("M", bound=BaseModel)
ScalingName = Literal[
    "auto", "none", "columns", "global", "norm", "unit", "centred", "robust", "rows"
]
AutoScaling = ScalingName | dict[str, ScalingName]

TAKEN = frozenset(
    ("recipe", "X", "out", "validation_data", "callbacks", "progress", "overwrite", "path", "model")
)
"""Arguments of the verbs, beside which an option of the same name could not be passed."""

SCALING: Any = Field(
    "auto",
    description="columns: mean 0, variance 1; global, norm: one factor for all; unit: 0 to 1; "
    "centred, robust: one factor about means or medians; of a collection by name",
)


def options_model(name: str, function: Callable[..., Any]) -> tuple[type[BaseModel], bool]:
    """The options of a builder, and whether it takes the signal.

    A builder is ``(signal, *, option: type = default, ...)`` or ``(*, option: type = default,
    ...)``. Anything else in the signature is an :class:`IsthmusError`.
    """
    parameters = _parameters(name, function)
    kinds = inspect.Parameter
    reads_signal = bool(parameters) and parameters[0].kind in (
        kinds.POSITIONAL_ONLY,
        kinds.POSITIONAL_OR_KEYWORD,
    )
    if reads_signal:
        _check_signal(name, parameters.pop(0))
    fields: dict[str, Any] = {}
    for parameter in parameters:
        option = parameter.name
        if parameter.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD):
            raise IsthmusError(
                f"{name}: *{option} hides which options there are: write each as a keyword-only "
                "parameter with a type"
            )
        if parameter.kind is not kinds.KEYWORD_ONLY:
            raise IsthmusError(
                f"{name}: the option {option!r} must be keyword-only: write a * before it"
            )
        if parameter.annotation is kinds.empty:
            raise IsthmusError(
                f"{name}: the option {option!r} has no type: write {option}: int, or what it is"
            )
        if option in TrainingOptions.model_fields:
            raise IsthmusError(
                f"{name}: {option!r} is among what are already training options: give the option "
                "another name"
            )
        if option in TAKEN or option == "scaling":
            raise IsthmusError(
                f"{name}: {option!r} has a meaning in every fit: give the option another name"
            )
        default = ... if parameter.default is kinds.empty else parameter.default
        fields[option] = (parameter.annotation, default)
    return only_scaling(name, fields), reads_signal


def only_scaling(name: str, fields: Mapping[str, Any] | None = None) -> type[BaseModel]:
    """``fields`` (none by default) and the option that every model has: ``scaling``."""
    config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True,
        protected_namespaces=(),
    )  # fmt: skip
    try:
        with warnings.catch_warnings():
            # An option may be called "copy" or "json": nothing here calls the model's methods.
            warnings.simplefilter("ignore", UserWarning)
            options: type[BaseModel] = create_model(
                name, __config__=config, **{**(fields or {}), "scaling": (AutoScaling, SCALING)}
            )
            return options
    except Exception as problem:
        first = str(problem).strip().split("\n")[0]
        raise IsthmusError(
            f"{name}: its options cannot be read ({first}): give each a plain name and type"
        ) from problem


def _parameters(name: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function, eval_str=True).parameters.values())
    except NameError as problem:
        raise IsthmusError(
            f"{name}: the type of an option cannot be read ({problem}): import it at the top of "
            "its module"
        ) from problem
    except (TypeError, ValueError) as problem:
        raise IsthmusError(
            f"{name}: its options cannot be read ({problem}): pass a function with a signature"
        ) from problem


def _check_signal(name: str, first: inspect.Parameter) -> None:
    kind = first.annotation
    if kind in (inspect.Parameter.empty, Any, Signal) or Signal in get_args(kind):
        return
    raise IsthmusError(
        f"{name}: its first parameter {first.name!r} must be the signal, and options keyword-only: "
        f"write (signal, *, {first.name}: ...)"
    )


def validated(model: type[M], values: Mapping[str, Any]) -> M:
    """A pydantic model, its complaint as one sentence."""
    try:
        return model(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        # Of an option that may be of several types the place also names the type tried.
        place = ".".join(p for p in map(str, first["loc"]) if "[" not in p)
        if first["type"] == "missing":
            raise IsthmusError(f"the option {place} has no default: pass {place}=...") from None
        raise IsthmusError(
            f"the option {place}={first['input']!r} is not allowed: {first['msg']}"
        ) from None


def option_table(model: type[BaseModel], defaults: Mapping[str, Any]) -> list[dict[str, str]]:
    """Name, type, default and description of each option, for pages and the command line."""
    rows = []
    for name, info in model.model_fields.items():
        if info.is_required():
            default_text = "required"
        else:
            default = defaults.get(name, info.get_default(call_default_factory=True))
            default_text = "none" if default is None else str(default)
        rows.append(
            {
                "name": name,
                "type": _named(info.annotation),
                "default": default_text,
                "description": info.description or "",
            }
        )
    return rows


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


def literals(kind: Any) -> list[Any]:
    """The values that a type names one by one, wherever in it."""
    if get_origin(kind) is Literal:
        return [*get_args(kind)]
    return [value for inside in get_args(kind) for value in literals(inside)]


def module_options(options: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Those options that are modules of the user's own: they cannot be stored in a checkpoint."""
    return {name: value for name, value in options.items() if isinstance(value, nn.Module)}
