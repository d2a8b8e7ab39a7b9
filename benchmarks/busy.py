"""What a training step takes on a machine that is busy with something else, beside a quiet one.

Each arm is a process of its own that times a few steps of ``isthmus.fit``, alone and beside
processes that compute without end. With ``--others`` processes on as many cores a fair share is
twice the time. ``spinning`` is OpenMP's own default, ``asleep`` what ``isthmus`` sets when it is
imported, and ``torch first`` is asleep as well, where PyTorch was imported before.

Before each measurement the machine must be quiet; how busy it was is shown.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

STEP = """
import sys, time
{first}
import numpy as np, isthmus
from benchmarks.sparse.ours import Isthmus
d, width, batch, steps = map(int, sys.argv[1:])
x = np.random.default_rng(0).standard_normal((4 * batch, d)).astype(np.float32)
run = Isthmus("topk", x, width, 16, batch, 1000, 0, clip=None, average=None)
run.run(3)
print(run.run(steps) / steps)
run.stop()
"""
ARMS = {
    "spinning": ("", {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": "300000"}),
    "asleep": ("", {}),
    "torch first": ("import torch", {}),
}
SHAPES = {
    "64 -> 512, batch 512": (64, 512, 512, 40),
    "512 -> 8192, batch 4096": (512, 8192, 4096, 6),
}
QUIET = 0.15
WAITS = 30.0


def busyness(seconds: float = 0.5) -> float:
    """The share of all processors' time that somebody used in the next moments."""

    def read() -> tuple[int, int]:
        fields = [int(f) for f in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        return sum(fields), fields[3] + fields[4]

    begun = read()
    time.sleep(seconds)
    ended = read()
    return 1.0 - (ended[1] - begun[1]) / max(1, ended[0] - begun[0])


def quiet() -> float:
    """Wait for a quiet moment, but not for ever; how busy it is then."""
    begun = time.monotonic()
    while (busy := busyness()) > QUIET and time.monotonic() - begun < WAITS:
        pass
    return busy


@contextlib.contextmanager
def others(number: int) -> Iterator[None]:
    """Processes that compute without end, each in a session of its own."""
    code = "while True: sum(range(100000))"
    busy = [
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        for _ in range(number)
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def step(arm: str, shape: tuple[int, int, int, int]) -> float:
    """Seconds of a step in a process of its own."""
    first, environment = ARMS[arm]
    kept = {n: v for n, v in os.environ.items() if n not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STEP.format(first=first), *map(str, shape)],
        env={**kept, **environment}, capture_output=True, text=True, check=True,
        start_new_session=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--others", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    for name, shape in SHAPES.items():
        alone: dict[str, list[float]] = {arm: [] for arm in ARMS}
        beside: dict[str, list[float]] = {arm: [] for arm in ARMS}
        most = 0.0
        for _ in range(args.rounds):
            for arm in ARMS:
                most = max(most, quiet())
                alone[arm].append(step(arm, shape))
                most = max(most, quiet())
                with others(args.others):
                    beside[arm].append(step(arm, shape))
        print(f"{name}: ms a step (the machine was at most {most:.0%} busy before each)")
        for arm in ARMS:
            ratios = sorted(b / a for a, b in zip(alone[arm], beside[arm], strict=True))
            print(
                f"  {arm:12} alone {1000 * statistics.median(alone[arm]):8.2f}, beside "
                f"{args.others} {1000 * statistics.median(beside[arm]):8.2f}: "
                f"{statistics.median(ratios):.2f} times [{ratios[0]:.2f}, {ratios[-1]:.2f}]",
                flush=True,
            )


if __name__ == "__main__":
    main()
