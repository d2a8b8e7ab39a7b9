"""Hooks that replace what passes at a point of a model."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from isthmus.activations.hooks import needed_tensor
from isthmus.activations.points import Point, resolve
from isthmus.errors import IsthmusError


def one_point(model: nn.Module, point: str) -> Point:
    """The point of that name; an error where a pattern names several."""
    found = resolve(model, point)
    if len(found) > 1:
        raise IsthmusError(
            f"{point!r} names {len(found)} points, from {found[0].name!r} to {found[-1].name!r}: "
            "name one"
        )
    return found[0]


def hooked(point: Point, edit: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Replace the activation at a point by ``edit`` of it, until the handle is removed.

    Which tensor counts is decided as :class:`isthmus.activations.Activations` does.
    """
    if point.side == "input":

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            named = {key: kwargs[key] for key in ("hidden_states",) if key in kwargs}
            old = needed_tensor((args, named, kwargs), point)
            new = edit(old)
            return _with(args, old, new), _with(kwargs, old, new)

        return point.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        old = needed_tensor(output, point)
        return _with(output, old, edit(old))

    return point.module.register_forward_hook(after)


def _with(held: Any, old: Tensor, new: Tensor) -> Any:
    """The same structure with one tensor in another's place; what does not hold it is kept."""
    if held is old:
        return new
    if isinstance(held, Mapping):
        changed = {key: _with(value, old, new) for key, value in held.items()}
        changed = {key: value for key, value in changed.items() if value is not held[key]}
        if not changed:
            return held
        twin: Any = copy.copy(held)
        for key, value in changed.items():
            twin[key] = value
        return twin
    if isinstance(held, (list, tuple)):
        items = [_with(value, old, new) for value in held]
        if all(a is b for a, b in zip(items, held, strict=True)):
            return held
        return type(held)(*items) if hasattr(held, "_fields") else type(held)(items)
    if dataclasses.is_dataclass(held) and not isinstance(held, type):
        values = {f.name: getattr(held, f.name) for f in dataclasses.fields(held)}
        fields = {name: _with(value, old, new) for name, value in values.items()}
        fields = {name: value for name, value in fields.items() if value is not values[name]}
        return dataclasses.replace(held, **fields) if fields else held
    return held
