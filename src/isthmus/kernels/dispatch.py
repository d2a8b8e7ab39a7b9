"""Which implementation serves: the reference, torch alone, or the native library."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal, get_args

import torch
from torch import Tensor

from isthmus.errors import IsthmusError, unknown
from isthmus.kernels.library import Library, explain, native

Path = Literal["auto", "reference", "torch", "native"]

_chosen: Path = "auto"
_portable: ContextVar[bool] = ContextVar("portable", default=False)
_dense: ContextVar[bool] = ContextVar("dense", default=False)


def use(path: Path) -> None:
    """Choose for the whole process: ``reference`` (plain dense PyTorch), ``torch`` (sparse, no
    compiled code), ``native``, or ``auto``: the fastest there is.

    ``native`` without the library is an :class:`IsthmusError`.
    """
    global _chosen
    if path not in get_args(Path):
        raise unknown("path", path, get_args(Path))
    if path == "native" and native() is None:
        raise IsthmusError(
            f"the native kernels are not there ({explain()}): run isthmus doctor --build, or use "
            "the path auto"
        )
    _chosen = path


@contextlib.contextmanager
def using(path: Path) -> Iterator[None]:
    """:func:`use` for a while."""
    earlier = _chosen
    use(path)
    try:
        yield
    finally:
        use(earlier)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """PyTorch alone for a while, in this thread only: every operation can then be counted."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


@contextlib.contextmanager
def dense() -> Iterator[None]:
    """Plain dense PyTorch for a while, in this thread only: every operation can then be traced."""
    token = _dense.set(True)
    try:
        yield
    finally:
        _dense.reset(token)


def path_in_use() -> Path:
    """What serves float32 tensors in main memory: never ``auto``."""
    if _chosen != "auto":
        return _chosen
    return "torch" if native() is None else "native"


def native_for(*tensors: Tensor | None) -> Library | None:
    """The native library where it may serve these tensors, else None."""
    if _chosen not in ("auto", "native") or _portable.get() or _dense.get():
        return None
    for tensor in tensors:
        if tensor is not None and (tensor.device.type != "cpu" or tensor.dtype != torch.float32):
            return None
    return native()


def is_reference() -> bool:
    """Whether everything is to be computed densely, by PyTorch's own derivatives."""
    return _chosen == "reference" or _dense.get()
