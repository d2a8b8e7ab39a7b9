"""The latent of one batch: what all kinds of codes offer, and how a kind of one's own is made.

Every code has ``z``: a dense float tensor whose last axes are the latent. A code with a leading
*sample axis* (several draws per example) has ``z`` of shape ``(samples, rows, latent)`` and says
so in ``samples``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import Field, field, fields, is_dataclass
from functools import cached_property
from inspect import get_annotations
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError, unknown

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_UNSTORED = "unstored"
_STORED: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()


def unstored(default: Any = None) -> Any:
    """A field of a code that only the training path needs.

    It is no part of :meth:`Code.tensors`, and codes that are joined, detached, moved or of fewer
    rows have its ``default`` again.
    """
    return field(default=default, repr=False, metadata={_UNSTORED: True})


class Code:
    """A dense code, ``z`` ``(rows, latent)``; the base of all kinds.

    A kind of one's own is a dataclass, and nothing else has to be written::

        @dataclass(eq=False)
        class Scaled(Code):
            z: Tensor
            scale: Tensor
            trace: Tensor | None = unstored()

    Its tensor fields, the row axis first, are what is stored of it. Fields may also be codes, or
    dictionaries of tensors and codes: a tree, whose parts have names such as ``child.z``. All other
    fields say what the codes of all batches have in common. ``z`` may be a property that builds it.

    ``is_sparse`` says that ``z`` is zero wherever a latent is not active, so that only values which
    differ from zero count.
    """

    z: Tensor
    samples: int | None = None
    """Number of draws per example when ``z`` has a leading sample axis, else None."""

    is_sparse: ClassVar[bool] = False

    def __new__(cls, *args: Any, **named: Any) -> Self:
        stored_names(cls)  # A kind that cannot be stored is an error at once, not when it is saved.
        return super().__new__(cls)

    def __init__(self, z: Tensor) -> None:
        self.z = z

    def __len__(self) -> int:
        """Number of rows."""
        return self.z.shape[0 if self.samples is None else 1]

    @cached_property
    def width(self) -> int:
        """Number of latents."""
        return self.z.shape[1 if self.samples is None else 2 :].numel()

    def active(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row and latent int64, and value, of what is active, each ``(entries,)``, by row.

        Of a dense code every latent is active, whatever its value. A code with a sample axis is an
        :class:`IsthmusError`.
        """
        z = _of_rows(self)
        rows, width = z.shape
        row = torch.arange(rows, device=z.device).repeat_interleave(width)
        return row, torch.arange(width, device=z.device).repeat(rows), z.reshape(-1)

    def by_position(self) -> "Code":
        """A row for each position, of kinds that have codes of several a row; else the same."""
        return self

    def matrix(self) -> "csr_array":
        """What :meth:`active` says, as a sparse matrix ``(rows, width)``, off the graph.

        Values are stored in that order, zeros as well; what a row names twice is there twice, and
        counts with its sum.
        """
        from scipy.sparse import csr_array

        row, latent, value = (part.detach().cpu() for part in self.active())
        value = value if value.dtype in (torch.float32, torch.float64) else value.float()
        counts = torch.bincount(row, minlength=len(self)).numpy()
        starts, shape = np.concatenate(([0], np.cumsum(counts))), (len(self), self.width)
        small = np.int32 if max(len(value), *shape) < 2**31 else np.int64
        stored = value.numpy(), latent.numpy().astype(small), starts.astype(small)
        return csr_array(stored, shape=shape)

    # --- what is stored ----------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """What is stored of this code: name to tensor, the row axis first."""
        return {
            name: tensor
            for head in stored_names(type(self))
            for name, tensor in _leaves(head, getattr(self, head))
        }

    def replaced(self, **parts: Any) -> Self:
        """The same code with other values of some fields, or of parts named as by `tensors`."""
        if is_dataclass(self):
            values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        else:
            values = {"z": self.z}
        for name, part in parts.items():
            head, _, rest = name.partition(".")
            if head not in values:
                raise unknown(f"part of a {type(self).__name__}", head, values)
            values[head] = _put(values[head], rest, part)
        return type(self)(**values)

    @classmethod
    def join(cls, codes: Sequence["Code"]) -> "Code":
        """The codes of consecutive batches as one code; codes of different kinds are an error."""
        if not codes:
            raise IsthmusError("there are no codes to join: pass one or more")
        first = codes[0]
        if cls is Code and type(first) is not Code:
            return type(first).join(codes)
        _one_kind(codes)
        return first._with(
            {
                name: _joined(name, [getattr(c, name) for c in codes], first._axis(name))
                for name in stored_names(type(first))
            }
        )

    def offgraph(self) -> Self:
        """The same code off the autograd graph, where it is."""
        return self._mapped(lambda tensor: tensor.detach(), lambda code: code.offgraph())

    def detached(self) -> Self:
        """The same code off the autograd graph and in main memory."""
        return self._mapped(lambda tensor: tensor.detach().cpu(), lambda code: code.detached())

    def to(self, device: torch.device | str) -> Self:
        """The same code on another device."""
        return self._mapped(lambda tensor: tensor.to(device), lambda code: code.to(device))

    def take(self, rows: slice | Tensor) -> Self:
        """Some of the rows: a slice, their numbers or a boolean mask."""
        values = {}
        for name in stored_names(type(self)):
            part = getattr(self, name)
            if self._axis(name):
                values[name] = part[:, rows]
            else:
                values[name] = _changed(part, lambda t: t[rows], lambda code: code.take(rows))
        return self._with(values)

    def _axis(self, name: str) -> int:
        return int(name == "z" and self.samples is not None)

    def _with(self, values: dict[str, Any]) -> Self:
        return type(self)(**values)

    def _mapped(self, on_tensor: Any, on_code: Any) -> Self:
        return self._with(
            {
                name: _changed(getattr(self, name), on_tensor, on_code)
                for name in stored_names(type(self))
            }
        )


def stored_names(kind: type[Code]) -> tuple[str, ...]:
    """The fields of a kind of code that are kept; a kind that is no dataclass is an error."""
    if kind not in _STORED:
        _STORED[kind] = _found_names(kind)
    return _STORED[kind]


def _found_names(kind: type[Code]) -> tuple[str, ...]:
    for part in kind.__mro__[: kind.__mro__.index(Code)]:
        bare = issubclass(part, Code) and "__dataclass_fields__" not in vars(part)
        if bare and (get_annotations(part) or "__init__" in vars(part)):
            raise IsthmusError(
                f"{part.__name__} is a kind of code but no dataclass, so that its fields cannot be "
                "stored: decorate it with @dataclass(eq=False)"
            )
    if not is_dataclass(kind):
        return ("z",)
    members: tuple[Field[Any], ...] = fields(kind)
    if "z" not in {f.name for f in members} and not hasattr(kind, "z"):
        raise IsthmusError(
            f"{kind.__name__} has no z: declare the field z: Tensor, or a property that builds it"
        )
    return tuple(f.name for f in members if f.init and not f.metadata.get(_UNSTORED))


def _of_rows(code: Code) -> Tensor:
    """``z`` as ``(rows, width)``."""
    if code.samples is not None:
        raise IsthmusError(
            f"a code of {code.samples} draws has no one value for each row: use the code that "
            "encode returns"
        )
    return code.z.flatten(1)


def _one_kind(codes: Sequence[Code]) -> None:
    for code in codes:
        if type(code) is not type(codes[0]):
            raise IsthmusError(
                f"a {type(codes[0]).__name__} and a {type(code).__name__} cannot be joined: have "
                "the bottleneck return one kind of code"
            )


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a part of a code, by name."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Code):
        yield from ((f"{name}.{inner}", tensor) for inner, tensor in value.tensors().items())
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(f"{name}.{key}", part)


def _changed(value: Any, on_tensor: Any, on_code: Any) -> Any:
    """A part of a code with its tensors and codes changed."""
    if isinstance(value, Tensor):
        return on_tensor(value)
    if isinstance(value, Code):
        return on_code(value)
    if isinstance(value, dict):
        return {key: _changed(part, on_tensor, on_code) for key, part in value.items()}
    return value


def _put(value: Any, name: str, part: Any) -> Any:
    """A part of a code with the part of that name within it replaced."""
    if not name:
        return part
    if isinstance(value, Code):
        return value.replaced(**{name: part})
    head, _, rest = name.partition(".")
    if not isinstance(value, dict) or head not in value:
        raise unknown("part of a code", head, value if isinstance(value, dict) else ())
    return {**value, head: _put(value[head], rest, part)}


def _joined(name: str, parts: list[Any], axis: int) -> Any:
    """One field of the codes of consecutive batches."""
    first = parts[0]
    if isinstance(first, Code):
        return type(first).join(parts)
    for part in parts:
        if not _alike(first, part, axis):
            raise IsthmusError(
                f"the codes to join differ in their {name}, {_told(first)} and {_told(part)}: join "
                "codes of one model"
            )
    if isinstance(first, Tensor):
        return torch.cat(parts, axis)
    if isinstance(first, dict):
        return {key: _joined(f"{name}.{key}", [p[key] for p in parts], 0) for key in first}
    return first


def _alike(first: Any, other: Any, axis: int) -> bool:
    """Whether a field is of one kind: tensors of rows of one shape, dictionaries of one set of
    names, the same value of anything else."""
    if type(first) is not type(other):
        return False
    if isinstance(first, Tensor):
        a, b = list(first.shape), list(other.shape)
        return a[:axis] + a[axis + 1 :] == b[:axis] + b[axis + 1 :]
    if isinstance(first, dict):
        return first.keys() == other.keys()
    return first is other or bool(first == other)


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)}"
    return f"names {', '.join(map(str, value))}" if isinstance(value, dict) else repr(value)
