"""Call every function of a library built with sanitizers, on odd shapes, at every level.

``python sanitize.py LIBRARY``, with libasan preloaded: the tensors' memory then has its guards.
"""

import ctypes
import itertools
import sys
from collections.abc import Callable
from typing import Any

import torch

from isthmus.kernels.library import ABOVE, TOP, TOP_MAGNITUDE, Factor, Library, RowUpdate, Selection

SHAPES = [
    # rows, d, width, k
    (1, 1, 1, 1), (2, 3, 5, 5), (7, 15, 17, 2), (16, 16, 64, 3), (17, 17, 63, 63), (3, 64, 65, 1),
    (97, 5, 130, 9), (5, 130, 700, 4), (100, 33, 1100, 40), (66, 129, 33, 33),
]  # fmt: skip
KINDS = ["normal", "ties", "zeros", "nan", "inf", "outlier"]


def matrices(kind: str, rows: int, d: int, width: int) -> tuple[torch.Tensor, ...]:
    x, weight, bias = torch.randn(rows, d), torch.randn(width, d), torch.randn(width)
    if kind == "ties":
        weight[:], bias[:] = 1.0, 0.5
    elif kind == "zeros":
        x.zero_()
        weight[::2] = 0.0
    elif kind in ("nan", "inf"):
        x[0, d // 2] = float(kind)
        weight[width // 2, 0] = float(kind)
        bias[width // 3] = float(kind)
    elif kind == "outlier":
        x[:, 0] = 1e4
    return x, weight, bias


class Watched:
    """The library's functions, noting which were called; tensors become their addresses."""

    def __init__(self, library: Library) -> None:
        self.library, self.called = library, set[str]()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.called.add(name)
        function = self.library.functions[name]

        def call(*arguments: Any) -> Any:
            return function(*(at(a) if isinstance(a, torch.Tensor) else a for a in arguments))

        return call


def at(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def selections(lib: Watched, level: int, kind: str, shape: tuple[int, ...], threads: int) -> None:
    rows, d, width, k = shape
    x, weight, bias = matrices(kind, rows, d, width)
    priority, cutoff = 0.5 + torch.rand(width), torch.randn(width)
    for mode, weighted in itertools.product((TOP, TOP_MAGNITUDE, ABOVE), (False, True)):
        values = torch.empty(rows, k)
        indices = torch.empty(rows, k, dtype=torch.int64)
        counts = torch.empty(rows, dtype=torch.int32)
        job = Selection(
            at(x), at(weight), at(bias), at(cutoff) if mode == ABOVE else None,
            at(priority) if weighted and mode != ABOVE else None, rows, width, d, k, mode, threads,
            at(values), at(indices), at(counts),
        )  # fmt: skip

        def check(values=values, indices=indices, counts=counts) -> None:  # type: ignore[no-untyped-def]
            assert ((counts >= -1) & (counts <= k)).all()
            fits = indices[counts >= 0]
            assert ((fits >= 0) & (fits < width)).all()
            values.fill_(7.0)
            indices.fill_(-9)
            counts.fill_(-9)

        lib.select_products(ctypes.byref(job), x @ weight.T)
        check()
        if level >= 3:
            packed = torch.empty(lib.packed_bytes(width, d), dtype=torch.uint8)
            step, norm, rounding = (torch.empty(width) for _ in range(3))
            lib.pack(weight, width, d, packed, step, norm, rounding, threads)
            lib.select_int8(ctypes.byref(job), packed, step, norm, rounding)
            check()


def rows_of_weights(lib: Watched, kind: str, shape: tuple[int, ...], threads: int) -> None:
    rows, d, width, k = shape
    _, weight, _ = matrices(kind, rows, d, width)
    values, indices = torch.randn(rows, k), torch.randint(0, width, (rows, k))
    values[torch.rand(rows, k) < 0.3] = 0.0
    dense, offset = torch.randn(rows, d), torch.randn(d)
    out, places, squares = torch.empty(rows, d), torch.empty(rows, k), torch.empty(rows)
    lib.decode(values, indices, weight, rows, k, d, out, threads)
    lib.at_places(dense, indices, weight, rows, k, d, places, threads)
    lib.decode_error(
        values, indices, weight, offset, dense, rows, k, d, out, squares, places, threads
    )
    lib.sum_by_latent(values, indices, rows * k, torch.zeros(width, dtype=torch.float64))
    order, offsets = (torch.empty(n, dtype=torch.int64) for n in (rows * k, width + 1))
    lib.by_latent(values, indices, rows, k, width, order, offsets)
    factors = (Factor * 2)(
        *[Factor(at(values), at(order), at(offsets), at(dense), k) for _ in range(2)]
    )
    some = max(1, width // 2)
    place = torch.full((width,), -1, dtype=torch.int64)
    place[torch.randperm(width)[:some]] = torch.arange(some)
    extra, gradient = torch.randn(some, d), torch.randn(width, d)
    mean, square = torch.zeros(width, d), torch.zeros(width, d)
    for unit, whole in itertools.product((0, 1), (False, True)):
        update = RowUpdate(
            at(weight), at(mean), at(square), at(gradient) if whole else None,
            ctypes.cast(factors, ctypes.c_void_p), at(place) if whole else None,
            at(extra) if whole else None, 2, width, d, 1e-3, 0.9, 0.999, 1e-8, 0.1, 0.001, 0.01,
            unit, threads,
        )  # fmt: skip
        lib.row_gradient(ctypes.byref(update), torch.empty(width, d))
        lib.row_adam(ctypes.byref(update))


def main(path: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    library = Library(path)
    lib = Watched(library)
    lib.abi()
    best = lib.best_level()
    for level in range(best + 1):
        assert lib.set_level(level) == level
        for shape, kind in itertools.product(SHAPES, KINDS):
            threads = 1 + (shape[0] + len(kind)) % 3
            selections(lib, level, kind, shape, threads)
            rows_of_weights(lib, kind, shape, threads)
    missed = library.functions.keys() - lib.called
    if best >= 3:
        assert not missed, f"not called: {missed}"
    print(f"every function, levels 0 to {best}: clean")


if __name__ == "__main__":
    main(sys.argv[1])
