"""Weak scaling of a dictionary cut by latents: twice the ranks, twice the latents, the same batch.

    python -m benchmarks.ranks [--ranks 1 2] [--width 4096] [--features 256] [--batch 1024]

Each rank has one thread and ``--width`` latents. Told are the time of a step and the processor time
that all ranks together spent in it, divided by their number: the second is the same beside other
busy processes. Both are differences of a long and a short run, so that what is done once does not
count; runs take turns, and the median of the rounds is told. Two ranks on one core say nothing.
"""

import argparse
import resource
import statistics
import time

import numpy as np
import torch

import isthmus

SHORT, LONG = 4, 24


def spent(X: np.ndarray, ranks: int, steps: int, width: int, batch: int) -> tuple[float, float]:
    """Seconds of a run, and processor seconds of all its processes."""
    before, began = _processor(), time.perf_counter()
    isthmus.fit(
        "topk", X, latent_dim=width * ranks, k=32, steps=steps, batch_size=batch, warmup=0,
        ranks=ranks, progress=False,
    )  # fmt: skip
    return time.perf_counter() - began, _processor() - before


def _processor() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, who))


def main() -> None:
    """Measure, and print a table."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    ask.add_argument("--width", type=int, default=4096)
    ask.add_argument("--features", type=int, default=256)
    ask.add_argument("--batch", type=int, default=1024)
    ask.add_argument("--rounds", type=int, default=3)
    asked = ask.parse_args()
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    X = draw.normal(size=(4 * asked.batch, asked.features)).astype(np.float32)
    isthmus.fit("topk", X, latent_dim=256, k=8, steps=2, batch_size=asked.batch, progress=False)
    times: dict[int, list[tuple[float, float]]] = {count: [] for count in asked.ranks}
    for _ in range(asked.rounds):
        for count in asked.ranks:
            short = spent(X, count, SHORT, asked.width, asked.batch)
            long = spent(X, count, LONG, asked.width, asked.batch)
            took = ((b - a) / (LONG - SHORT) for a, b in zip(short, long, strict=True))
            times[count].append((next(took), next(took) / count))
    print("| ranks | latents | ms a step | processor ms a step and rank |")
    print("| --- | --- | --- | --- |")
    for count, rounds in times.items():
        wall, processor = (1000 * statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"| {count} | {asked.width * count:,} | {wall:.0f} | {processor:.0f} |")


if __name__ == "__main__":
    main()
