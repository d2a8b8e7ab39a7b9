"""The native library, loaded with ctypes: its structures, and whether it is there."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from isthmus.kernels.native.build import LIBRARY, BuildError, build

ABI = 4
LEVELS = ("portable", "AVX2", "AVX-512", "AVX-512 with VNNI", "AMX with int8")
TOP, TOP_MAGNITUDE, ABOVE = 0, 1, 2

_P, _I64, _I32, _F64 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_double


class Selection(ctypes.Structure):
    """``isthmus_selection`` of ``isthmus.h``."""

    _fields_ = [
        *((n, _P) for n in ("x", "weight", "bias", "cutoff", "priority")),
        *((n, _I64) for n in ("rows", "width", "d", "k")),
        *((n, _I32) for n in ("mode", "threads")),
        *((n, _P) for n in ("values", "indices", "counts")),
    ]


class Factor(ctypes.Structure):
    """``isthmus_factor`` of ``isthmus.h``."""

    _fields_ = [
        *((n, _P) for n in ("values", "order", "offsets", "dense")),
        ("k", _I64),
    ]


class RowUpdate(ctypes.Structure):
    """``isthmus_row_update`` of ``isthmus.h``."""

    _fields_ = [
        *((n, _P) for n in ("weight", "mean", "square", "gradient", "factors")),
        *((n, _P) for n in ("extra_place", "extra")),
        *((n, _I64) for n in ("factor_count", "width", "d")),
        *((n, _F64) for n in ("lr", "beta1", "beta2", "eps", "correction1", "correction2")),
        ("weight_decay", _F64),
        *((n, _I32) for n in ("unit", "threads")),
    ]


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "abi": (_I32, []),
    "best_level": (_I32, []),
    "set_level": (_I32, [_I32]),
    "packed_bytes": (_I64, [_I64, _I64]),
    "pack": (None, [_P, _I64, _I64, _P, _P, _P, _P, _I32]),
    "select_int8": (_I64, [ctypes.POINTER(Selection), _P, _P, _P, _P]),
    "select_products": (None, [ctypes.POINTER(Selection), _P]),
    "decode": (None, [_P, _P, _P, _I64, _I64, _I64, _P, _I32]),
    "decode_error": (None, [_P, _P, _P, _P, _P, _I64, _I64, _I64, _P, _P, _P, _I32]),
    "at_places": (None, [_P, _P, _P, _I64, _I64, _I64, _P, _I32]),
    "by_latent": (None, [_P, _P, _I64, _I64, _I64, _P, _P]),
    "row_gradient": (None, [ctypes.POINTER(RowUpdate), _P]),
    "row_adam": (None, [ctypes.POINTER(RowUpdate)]),
    "sum_by_latent": (None, [_P, _P, _I64, _P]),
}


class Library:
    """The functions of the library, by their names without the prefix."""

    def __init__(self, path: str) -> None:
        loaded = ctypes.CDLL(path)
        self.functions: dict[str, Callable[..., Any]] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, f"isthmus_{name}")
            function.restype, function.argtypes = result, arguments
            self.functions[name] = function
        self.level = int(self.functions["best_level"]())

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            return self.functions[name]
        except KeyError:
            raise AttributeError(name) from None

    def set_level(self, level: int) -> int:
        """Use at most that instruction level; returns the one in use."""
        self.level = int(self.functions["set_level"](level))
        return self.level


@cache
def _loaded() -> tuple[Library | None, str]:
    if not LIBRARY.exists():
        return None, f"{LIBRARY.name} was not built when isthmus was installed"
    try:
        library = Library(str(LIBRARY))
    except (OSError, AttributeError) as problem:
        return None, f"{LIBRARY.name} cannot be loaded: {problem}"
    if library.abi() != ABI:
        return None, f"{LIBRARY.name} belongs to another version of isthmus"
    return library, f"{LEVELS[library.level]}"


def native() -> Library | None:
    """The library, or None where there is none."""
    return _loaded()[0]


def explain() -> str:
    """Which instruction level the library uses, or why there is no library."""
    return _loaded()[1]


def rebuild() -> str:
    """Compile the library now and load it; returns :func:`explain`. Raises ``BuildError``."""
    build()
    _loaded.cache_clear()
    return explain()


def pointer(tensor: Tensor | None) -> int | None:
    """The address of a contiguous CPU tensor, None for none."""
    if tensor is None:
        return None
    if not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise TypeError("native kernels take contiguous tensors in main memory")
    return tensor.data_ptr()


def threads() -> int:
    """As many threads as PyTorch uses."""
    return torch.get_num_threads()


__all__ = [
    "ABOVE",
    "TOP",
    "TOP_MAGNITUDE",
    "BuildError",
    "Factor",
    "Library",
    "RowUpdate",
    "Selection",
    "explain",
    "native",
    "pointer",
    "rebuild",
    "threads",
]
