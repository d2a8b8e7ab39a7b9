"""Which implementation serves: the reference, torch alone, the native library, or triton."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from isthmus.errors import IsthmusError, unknown
from isthmus.kernels.backend import Backend
from isthmus.kernels.library import explain, native
from isthmus.kernels.native_backend import NativeBackend
from isthmus.kernels.reference_backend import ReferenceBackend
from isthmus.kernels.torch_backend import TorchBackend

Path = Literal["auto", "reference", "torch", "native", "triton"]
_F = TypeVar("_F", bound=Callable[..., Any])
Kinds = tuple[tuple[str, torch.dtype], ...]
"""Device and type of each tensor that an implementation has to take."""

_chosen: Path = "auto"
_portable: ContextVar[bool] = ContextVar("portable", default=False)
_dense: ContextVar[bool] = ContextVar("dense", default=False)
_REFERENCE, _TORCH = ReferenceBackend(), TorchBackend()


def use(path: Path) -> None:
    """Choose for the whole process: ``reference`` (plain dense PyTorch), ``torch`` (sparse, no
    compiled code), ``native`` (main memory), ``triton`` (CUDA), or ``auto``: the fastest there is.

    ``native`` without the library and ``triton`` without Triton are an :class:`IsthmusError`.
    """
    global _chosen
    if path not in get_args(Path):
        raise unknown("path", path, get_args(Path))
    if path == "native" and native() is None:
        raise IsthmusError(
            f"the native kernels are not there ({explain()}): run isthmus doctor --build, or use "
            "the path auto"
        )
    if path == "triton" and triton() is None:
        raise IsthmusError(
            "Triton is not installed: it comes with PyTorch for CUDA on Linux; use the path auto"
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
    if _chosen not in ("auto", "triton"):
        return _chosen
    return "torch" if native() is None or _chosen == "triton" else "native"


def backend_for(*tensors: Tensor | None) -> Backend:
    """The implementation that serves these tensors."""
    return _backend_of(_kinds(tensors))


def _kinds(tensors: tuple[Tensor | None, ...]) -> Kinds:
    return tuple((t.device.type, t.dtype) for t in tensors if t is not None)


def _backend_of(kinds: Kinds) -> Backend:
    if _dense.get():
        return _REFERENCE
    if _portable.get() or _chosen == "torch" or not kinds:  # whatever device the rest is on
        return _TORCH
    if _chosen == "reference":
        return _REFERENCE
    if _chosen in ("auto", "triton") and all(_for_triton(*kind) for kind in kinds):
        backend = triton()
        if backend is not None:
            return backend
    if _chosen != "triton" and all(kind == ("cpu", torch.float32) for kind in kinds):
        library = native()
        if library is not None:
            return _native(library)
    return _TORCH


def _for_triton(device: str, dtype: torch.dtype) -> bool:
    if os.environ.get("TRITON_INTERPRET") == "1":
        # In the interpreter, which runs in main memory and knows no bfloat16, only where asked for.
        return _chosen == "triton" and dtype in (torch.float32, torch.float16)
    return device == "cuda" and dtype in (torch.float32, torch.float16, torch.bfloat16)


def _constant(function: _F) -> _F:
    """Have a compiler take the result for a constant of the graph.

    As ``torch.compiler.assume_constant_result`` does, which imports the whole compiler.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@cache
def triton() -> Backend | None:
    """The programs in Triton, or None where it is not installed; PyTorch for CUDA brings it."""
    try:
        from isthmus.kernels.triton_backend import TritonBackend
    except ImportError:
        return None
    return TritonBackend()


@cache
def _native(library: object) -> NativeBackend:
    return NativeBackend(library)  # type: ignore[arg-type]


@_constant
def _settled(kinds: Kinds) -> tuple[int, bool, bool, bool]:
    backend = _backend_of(kinds)
    return backend.sparse_from, backend.fused_error, backend.by_rows, backend.exact_rows


def half_type(device: torch.device) -> torch.dtype | None:
    """The type of the large matrices under autocast where sparse products take it: on CUDA."""
    if device.type != "cuda" or not torch.is_autocast_enabled("cuda"):
        return None
    return torch.get_autocast_dtype("cuda")


def stays_dense(device: torch.device) -> bool:
    """Whether everything is computed densely: by the reference, and under autocast without CUDA."""
    if is_reference():
        return True
    return torch.is_autocast_enabled(device.type) and half_type(device) is None


def sparse_pays(width: int, k: int, *tensors: Tensor | None) -> bool:
    """Whether ``k`` of ``width`` latents are few enough for the sparse products to be faster."""
    if is_reference():
        return False
    return width >= _settled(_kinds(tensors))[0] * k


def fuses_error(*tensors: Tensor | None) -> bool:
    """Whether decoding and comparing are faster as one."""
    return _settled(_kinds(tensors))[1]


def takes_rows(*tensors: Tensor | None) -> bool:
    """Whether an optimiser's step over rows is one pass over the weight."""
    return _settled(_kinds(tensors))[2]


def exact_rows(*tensors: Tensor | None) -> bool:
    """Whether the last bits of what is selected do not depend on the other rows."""
    return _settled(_kinds(tensors))[3]


@_constant
def is_portable() -> bool:
    """Whether each operation is to be PyTorch's own, so that it can be counted or traced."""
    return _portable.get() or _dense.get()


@_constant
def is_reference() -> bool:
    """Whether everything is to be computed densely, by PyTorch's own derivatives."""
    return _chosen == "reference" or _dense.get()
