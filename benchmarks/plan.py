"""Plans of ``--device here`` against runs: ``python -m benchmarks.plan`` on a quiet machine.

Each shape is planned from narrower dictionaries, then trained for a few dozen steps by
``isthmus.fit``; the median time of its steps is compared with the plan's. Plan and run take turns,
so that what else the machine does falls on both. Exits with 1 where a plan is off by more than a
quarter.
"""

import os
import statistics
import sys
import time
from itertools import pairwise

import torch

import isthmus
from isthmus.roofline import Shape, planned
from isthmus.roofline.here import measured, this_machine
from isthmus.training.callbacks import Callback

SHAPES = [
    Shape(128, 4096, 16, 1024),
    Shape(256, 8192, 32, 2048),
    Shape(512, 8192, 32, 4096),
    Shape(512, 16384, 32, 2048),
    Shape(768, 12288, 32, 2048),
]
STEPS, WARM, ROUNDS = 24, 6, 2
MOST = 0.25
"""How far a plan may be off."""


def steps_of_fit(shape: Shape) -> float:
    """The median seconds of a step of a run, from one end of a step to the next."""
    rows = torch.randn(4 * shape.batch, shape.d, generator=torch.Generator().manual_seed(1))
    ends: list[float] = []

    class Clock(Callback):
        def on_step(self, run: object, step: int) -> None:
            ends.append(time.perf_counter())

    isthmus.fit(
        "topk", rows.numpy(), latent_dim=shape.width, k=shape.k, batch_size=shape.batch,
        steps=STEPS, validation=0.0, progress=False, callbacks=[Clock()],
    )  # fmt: skip
    taken = [b - a for a, b in pairwise(ends)]
    return statistics.median(taken[WARM:])


def main() -> int:
    load = os.getloadavg()[0]
    print(f"{this_machine().name}, load {load:.1f} before")
    print("| d | latents | k | batch | planned, ms | run, ms | off by |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    worst = 0.0
    for shape in SHAPES:
        plans, runs = [], []
        for _ in range(ROUNDS):
            shares = measured("topk", shape)
            plan = planned(shape, 1e6, this_machine(), measured=shares)
            plans.append(plan.step_seconds)
            runs.append(steps_of_fit(shape))
        plan_seconds, run_seconds = statistics.median(plans), statistics.median(runs)
        off = plan_seconds / run_seconds - 1.0
        worst = max(worst, abs(off))
        print(
            f"| {shape.d} | {shape.width:,} | {shape.k} | {shape.batch:,} | "
            f"{1e3 * plan_seconds:.1f} | {1e3 * run_seconds:.1f} | {off:+.0%} |",
            flush=True,
        )
    print(f"worst {worst:.0%}, load {os.getloadavg()[0]:.1f} after")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
