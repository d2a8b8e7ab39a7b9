"""Finding the k largest pre-activations, by each instruction level of the native kernels in turns.

Exact selection from planted rows, encoder and bias as in a training step: milliseconds, and the
ratio to the best level pair by pair. Run it on a quiet machine; ``isthmus doctor`` says which
levels it has.

    python -m benchmarks.sparse.screening
"""

import argparse
import statistics

import torch

from benchmarks.timing import clock, interleave, ratio
from isthmus.kernels.library import LEVELS, native
from isthmus.kernels.native_backend import NativeBackend

SHAPES = ((4096, 512, 8192, 32), (2048, 768, 24_576, 32), (4096, 2048, 16_384, 64),
          (1024, 64, 512, 16))  # fmt: skip
"""Rows, d, width and k."""


def planted(rows: int, d: int, width: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of k directions each, and an encoder close to the directions."""
    draw = torch.Generator().manual_seed(0)
    truths = torch.nn.functional.normalize(torch.randn(width, d, generator=draw), dim=1)
    chosen = torch.randint(0, width, (rows, k), generator=draw)
    sizes = 0.5 + torch.rand(rows, k, generator=draw)
    x = torch.nn.functional.embedding_bag(chosen, truths, per_sample_weights=sizes, mode="sum")
    x += 0.02 * torch.randn(rows, d, generator=draw)
    return x, truths + 0.3 / d**0.5 * torch.randn(width, d, generator=draw)


def main() -> None:
    """Print a line for each shape and level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    library = native()
    if library is None:
        parser.exit(1, "there is no native library here: see isthmus doctor\n")
    best, backend = library.level, NativeBackend(library)
    for rows, d, width, k in SHAPES:
        x, weight = planted(rows, d, width, k)

        def select(level: int, x=x, weight=weight, k=k) -> float:  # type: ignore[no-untyped-def]
            library.set_level(level)
            bias = weight.new_zeros(len(weight))
            return clock(lambda: backend.select_top(x, weight, bias, k))

        names = {LEVELS[n]: n for n in range(min(best, 2), best + 1)}
        arms = {name: (lambda n=n: select(n)) for name, n in names.items()}
        seconds = interleave(arms, args.rounds)
        print(f"{rows} rows, {d} -> {width}, k = {k}, {torch.get_num_threads()} threads")
        for name, spent in seconds.items():
            print(
                f"  {1000 * statistics.median(spent):8.1f} ms  {ratio(seconds, name, LEVELS[best])}"
            )
    library.set_level(best)


if __name__ == "__main__":
    main()
