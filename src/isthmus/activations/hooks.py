"""What flows through a model at chosen points, taken in one forward pass."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.activations.points import Point, Side, resolve
from isthmus.errors import IsthmusError


class Activations:
    """The activations of ``model`` at the points ``at``.

    >>> acts = Activations(model, at=["layers.*.mlp", "layers.0:in"])
    >>> acts(tokens)["layers.1.mlp"]

    A point is a module's path, in which each component may have wildcards; ``side`` says whether
    outputs or inputs are meant, and the suffixes ``:in`` and ``:out`` say it of one point. The
    resolved names are in ``points``.

    A call runs the model once on its arguments and returns a tensor for each point. The pass ends
    as soon as all points have been seen, so what lies behind the last of them is not computed. Of
    a tuple, a mapping or an output object the first floating-point tensor counts (of a module's
    keyword arguments, ``hidden_states`` before others). A module that runs several times in one
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
        self._places = resolve(model, at, side)
        self.points = tuple(place.name for place in self._places)
        self._overwritten: set[str] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """One forward pass; the tensor at each point, in the order of ``points``.

        Raises :class:`IsthmusError` where the pass does not come by a point, or a point holds no
        tensor.
        """
        taken = self._pass(args, kwargs)
        overwritten = {point for point, one in taken.items() if one.overwritten}
        if overwritten:
            self._overwritten |= overwritten
            taken = self._pass(args, kwargs)
        return {point: taken[point].tensor for point in self.points}

    def _pass(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> "dict[str, _Taken]":
        taken: dict[str, _Taken] = {}
        mine = object()

        def take(point: str, held: Any) -> None:
            if point in taken:
                return
            tensor = first_tensor(held)
            if tensor is None:
                raise IsthmusError(
                    f"the point {point!r} holds no tensor: name a module whose input or output has "
                    "one"
                )
            taken[point] = _Taken.of(tensor, point in self._overwritten, self.grad)
            if len(taken) == len(self._places):
                raise _Done(mine)

        no_graph = contextlib.nullcontext() if self.grad else torch.no_grad()
        try:
            with self._hooked(take), no_graph:
                self.model(*args, **kwargs)
        except _Done as done:
            if done.owner is not mine:
                raise
        missed = [point for point in self.points if point not in taken]
        if missed:
            raise IsthmusError(
                f"the forward pass does not come by {', '.join(map(repr, missed))}: name modules "
                "that it calls"
            )
        return taken

    @contextlib.contextmanager
    def _hooked(self, take: Callable[[str, Any], None]) -> Iterator[None]:
        handles = []
        try:
            for place in self._places:
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


def _hook(place: Point, take: Callable[[str, Any], None]) -> Any:
    if place.side == "input":

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            named = {key: kwargs[key] for key in ("hidden_states",) if key in kwargs}
            take(place.name, (args, named, kwargs))

        return place.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        take(place.name, output)

    return place.module.register_forward_hook(after)


def first_tensor(held: Any) -> Tensor | None:
    """The first floating-point tensor of a nested structure, else its first tensor, else None."""
    other: Tensor | None = None
    for tensor in _tensors(held):
        if tensor.is_floating_point():
            return tensor
        other = tensor if other is None else other
    return other


def _tensors(held: Any) -> Iterator[Tensor]:
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, Mapping):
        for value in held.values():
            yield from _tensors(value)
    elif isinstance(held, (list, tuple)):
        for value in held:
            yield from _tensors(value)
    elif dataclasses.is_dataclass(held) and not isinstance(held, type):
        for field in dataclasses.fields(held):
            yield from _tensors(getattr(held, field.name))
