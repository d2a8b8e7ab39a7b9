"""What flows through a model at chosen points, taken in one forward pass."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from isthmus.activations.points import Point, Side, resolve
from isthmus.errors import IsthmusError, unknown


class Activations:
    """The activations of ``model`` at the points ``at``.

    >>> acts = Activations(model, at=["layers.*.mlp", "layers.0:in"])
    >>> acts(tokens)["layers.1.mlp"]

    A point is a module's path, in which each component may have wildcards; ``side`` says whether
    outputs or inputs are meant, and the suffixes ``:in`` and ``:out`` say it of one point. The
    resolved names are in ``points``.

    A call runs the model once on its arguments and returns a tensor for each point. The pass ends
    as soon as all points have been seen, so what lies behind the last of them is not computed. Of
    a tuple, a mapping or an output object the first floating-point tensor that is more than one
    number counts (of a module's keyword arguments, ``hidden_states`` before others), or the one
    that the point names: ``encoder:hidden``, ``lstm:1.0``. A module that runs several times in one
    pass gives its first run. The hooks are on the model during the call only.

    Tensors are detached from the graph, unless ``grad``, and share the model's memory. Where a
    later module overwrites what was taken, the pass is repeated once and that point is copied from
    then on. The model's mode (training or evaluation) is left as it is.
    """

    def __init__(
        self,
        model: nn.Module,
        at: str | Sequence[str],
        side: Side = "output",
        *,
        grad: bool = False,
    ) -> None:
        self.model, self.grad = model, grad
        self.places = resolve(model, at, side)
        self.points = tuple(place.name for place in self.places)
        self._overwritten: set[str] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """One forward pass; the tensor at each point, in the order of ``points``.

        Raises :class:`IsthmusError` where the pass does not come by a point, or a point holds no
        tensor.
        """
        captures = self._pass(args, kwargs)
        overwritten = {point for point, one in captures.items() if one.overwritten}
        if overwritten:
            self._overwritten |= overwritten
            captures = self._pass(args, kwargs)
        return {point: captures[point].tensor for point in self.points}

    def _pass(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> "dict[str, _Taken]":
        captures: dict[str, _Taken] = {}
        mine = object()

        def take(place: Point, value: Any) -> None:
            point = place.name
            if point in captures:
                return
            tensor = needed_tensor(value, place)
            captures[point] = _Taken.of(tensor, point in self._overwritten, self.grad)
            if len(captures) == len(self.places):
                raise _Done(mine)

        no_graph = contextlib.nullcontext() if self.grad else torch.no_grad()
        try:
            with self._hooked(take), no_graph:
                self.model(*args, **kwargs)
        except _Done as stop:
            if stop.owner is not mine:
                raise
        missed = [point for point in self.points if point not in captures]
        if missed:
            raise IsthmusError(
                f"the forward pass does not come by {', '.join(map(repr, missed))}: name modules "
                "that it calls"
            )
        return captures

    @contextlib.contextmanager
    def _hooked(self, take: Callable[[Point, Any], None]) -> Iterator[None]:
        handles = []
        try:
            for place in self.places:
                handles.append(_hook(place, take))
            yield
        finally:
            for handle in handles:
                handle.remove()


class _Done(BaseException):
    """Ends a forward pass whose points have all been seen.

    No Exception, for a model may catch these.
    """

    def __init__(self, owner: object) -> None:
        super().__init__()
        self.owner = owner


@dataclasses.dataclass
class _Taken:
    """A tensor as taken, and how often it had been written to by then (-1: it is a copy)."""

    tensor: Tensor
    version: int

    @classmethod
    def of(cls, tensor: Tensor, copy: bool, grad: bool) -> "_Taken":
        tensor = tensor if grad else tensor.detach()
        if copy or tensor.is_inference():  # tensors of inference mode do not count their writes
            return cls(tensor.clone(), -1)
        return cls(tensor, tensor._version)

    @property
    def overwritten(self) -> bool:
        return self.version >= 0 and self.tensor._version != self.version


def _hook(place: Point, take: Callable[[Point, Any], None]) -> Any:
    if place.side == "input":

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            by_keyword = {key: kwargs[key] for key in ("hidden_states",) if key in kwargs}
            take(place, (args, by_keyword, kwargs))

        return place.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        take(place, output)

    return place.module.register_forward_hook(after)


def needed_tensor(held: Any, place: Point) -> Tensor:
    """The tensor that counts at a point: the one of its key, or the first.

    Raises :class:`IsthmusError` where there is none.
    """
    if place.key is not None:
        return _by_key(held, place)
    tensor = first_tensor(held)
    if tensor is None:
        raise IsthmusError(
            f"the point {place.name!r} holds no tensor: name a module whose input or output has one"
        )
    return tensor


def first_tensor(held: Any) -> Tensor | None:
    """The first real tensor of a nested structure that has rows: no loss, which is one number.

    Else the first real tensor, else the first of any type, else None.
    """
    number: Tensor | None = None
    other: Tensor | None = None
    for tensor in _tensors(held):
        if tensor.is_floating_point() and tensor.ndim:
            return tensor
        if tensor.is_floating_point():
            number = tensor if number is None else number
        other = tensor if other is None else other
    return other if number is None else number


def keys_of(held: Any) -> list[str]:
    """Names of the parts of a structure: keys, fields, or numbers from 0."""
    if isinstance(held, Mapping):
        return [str(key) for key in held]
    fields = getattr(held, "_fields", None)
    if fields is not None:
        return [*map(str, fields), *map(str, range(len(fields)))]
    if isinstance(held, (list, tuple)):
        return [str(n) for n in range(len(held))]
    if dataclasses.is_dataclass(held) and not isinstance(held, type):
        return [field.name for field in dataclasses.fields(held)]
    return []


def part_of(held: Any, key: str) -> Any:
    """The part of a structure that has a name among :func:`keys_of`; None without it."""
    if isinstance(held, Mapping):
        return next((value for name, value in held.items() if str(name) == key), None)
    if isinstance(held, (list, tuple)):
        number = int(key) if key.isdigit() else -1
        return held[number] if 0 <= number < len(held) else getattr(held, key, None)
    return getattr(held, key, None) if key in keys_of(held) else None


def _by_key(value: Any, place: Point) -> Tensor:
    """What lies under the point's key, whose parts are divided by dots (``hidden_states.2``)."""
    assert place.key is not None
    sides = [value]
    if place.side == "input":  # arguments by number, and by name
        args, _, kwargs = value
        sides = [kwargs, args]
    for one in sides:
        part = one
        for name in place.key.split("."):
            part = part_of(part, name)
        tensor = None if part is None else first_tensor(part)
        if tensor is not None:
            return tensor
    names = [name for one in sides for name in keys_of(one)]
    raise unknown(f"part of what {place.module_name!r} holds", place.key, names or ["(nothing)"])


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _tensors(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _tensors(value)
    elif dataclasses.is_dataclass(content) and not isinstance(content, type):
        for field in dataclasses.fields(content):
            yield from _tensors(getattr(content, field.name))


def hooked(point: Point, edit: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Replace the activation at a point by ``edit`` of it, until the handle is removed.

    Which tensor counts is decided as :class:`Activations` does.
    """
    if point.side == "input":

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            by_keyword = {key: kwargs[key] for key in ("hidden_states",) if key in kwargs}
            old = needed_tensor((args, by_keyword, kwargs), point)
            new = edit(old)
            return _with(args, old, new), _with(kwargs, old, new)

        return point.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        old = needed_tensor(output, point)
        return _with(output, old, edit(old))

    return point.module.register_forward_hook(after)


def _with(structure: Any, old: Tensor, new: Tensor) -> Any:
    """The same structure with one tensor in another's place; what does not hold it is kept."""
    if structure is old:
        return new
    if isinstance(structure, Mapping):
        changed = {key: _with(value, old, new) for key, value in structure.items()}
        changed = {key: value for key, value in changed.items() if value is not structure[key]}
        if not changed:
            return structure
        twin: Any = copy.copy(structure)
        for key, value in changed.items():
            twin[key] = value
        return twin
    if isinstance(structure, (list, tuple)):
        items = [_with(value, old, new) for value in structure]
        if all(a is b for a, b in zip(items, structure, strict=True)):
            return structure
        return type(structure)(*items) if hasattr(structure, "_fields") else type(structure)(items)
    if dataclasses.is_dataclass(structure) and not isinstance(structure, type):
        values = {f.name: getattr(structure, f.name) for f in dataclasses.fields(structure)}
        fields = {name: _with(value, old, new) for name, value in values.items()}
        fields = {name: value for name, value in fields.items() if value is not values[name]}
        return dataclasses.replace(structure, **fields) if fields else structure
    return structure
