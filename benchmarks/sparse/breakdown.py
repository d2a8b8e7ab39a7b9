"""Where a training step goes: milliseconds in each native function, beside the plain product.

The run is ``isthmus.fit`` on planted rows, held between its steps as in the other benchmarks. Its
share in native code is what the trainer keeps of the kernels' speed. The encoder's product in
float32, by PyTorch, is what every library without screening pays at least.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.sparse.arms import KINDS, planted_file
from benchmarks.sparse.ours import Isthmus
from benchmarks.sparse.step_time import PLANNED, SHAPES
from isthmus.kernels.library import native


def timed(functions: dict[str, Callable[..., Any]]) -> dict[str, float]:
    """Have every function add its seconds to what is returned."""
    spent: dict[str, float] = defaultdict(float)

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            begun = time.perf_counter()
            result = function(*arguments)
            spent[name] += time.perf_counter() - begun
            return result

        return call

    for name, function in list(functions.items()):
        functions[name] = counting(name, function)
    return spent


def product(rows: int, d: int, width: int, times: int = 7) -> float:
    """Median seconds of one float32 product of the encoder's shape."""
    x, weight = torch.randn(rows, d), torch.randn(width, d)
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        x @ weight.T
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="topk", choices=KINDS)
    parser.add_argument("--shape", default="small", choices=SHAPES)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    library = native()
    if library is None:
        parser.exit(1, "there is no native library here: see isthmus doctor\n")
    shape = SHAPES[args.shape]
    with tempfile.TemporaryDirectory() as folder:
        _, data = planted_file(
            Path(folder), 8 * shape.batch, width=shape.d, truths=shape.truths, active=shape.active
        )
        run = Isthmus(args.kind, np.load(data), shape.width, args.k, shape.batch, PLANNED, 0,
                      clip=None, average=None)  # fmt: skip
        run.run(args.warm)
        spent = timed(library.functions)
        whole = run.run(args.steps)
        run.stop()
    print(f"{args.kind}, {shape.d} -> {shape.width}, batch {shape.batch}: ms a step")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {name:20} {1000 * seconds / args.steps:8.2f}")
    inside = sum(spent.values())
    print(f"  {'all of these':20} {1000 * inside / args.steps:8.2f}")
    print(f"  {'the whole step':20} {1000 * whole / args.steps:8.2f}")
    print(f"  share of the step in native code {inside / whole:.3f}")
    print(f"  one float32 product {1000 * product(shape.batch, shape.d, shape.width):.1f} ms")


if __name__ == "__main__":
    main()
