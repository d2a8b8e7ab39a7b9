"""FVU at equal L0: a control that holds a target against a sweep of the coefficient.

    python -m benchmarks.l0_control --out l0_control.jsonl [--steps 500 2000 10000] [--kinds gated]

Planted rows of 32 elements, 64 truths of which 4 are active, dictionaries of 128 latents. Of every
kind, length and seed: a fit at each target, with the target from the first step on and with a ramp
down to it (``l0_start``), and two sweeps of as many coefficients as there are of ``FACTORS``, about
those that the control found: ``sweep`` starts as the recipe does without a target, ``held`` where
the control starts, and the coefficient stays. A sweep's FVU at the control's own held-out L0 is
interpolated in logarithms. Each fit is a line of ``--out``; a second run does what is missing, and
prints the table of what is there.
"""

import argparse
import contextlib
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus.anatomy import expect
from isthmus.bottlenecks import JumpReLUBottleneck
from isthmus.bottlenecks.penalised import Penalised
from isthmus.data import Planted
from isthmus.objectives import L0Control

KINDS = ("relu-l1", "gated", "jumprelu")
STEPS = (500, 2000, 10_000)
TARGETS = (4.0, 8.0)
FACTORS = (0.4, 0.65, 1.0, 1.6, 2.5)
"""Of the geometric mean of the coefficients that the control found for all targets."""
RAMP = 4.0
"""Times the target, where a ramp begins."""
TRAINING: dict[str, Any] = {"latent_dim": 128, "batch_size": 256, "lr": 2e-3, "progress": False}
ROWS, HELD = 1 << 16, 4096

Fit = dict[str, Any]


def key(fit: Fit) -> tuple[Any, ...]:
    """What tells a fit from others."""
    return tuple(fit[name] for name in ("kind", "steps", "seed", "arm", "value"))


@contextlib.contextmanager
def held(coefficient: float) -> Iterator[None]:
    """Controls that start where they would, with this coefficient, and never answer."""
    begin = L0Control.begin

    def as_given(control: L0Control, _: float, spread: float) -> None:
        begin(control, coefficient, spread)

    def still(control: L0Control, target: float | None = None) -> Tensor:
        return torch.zeros_like(control.spread)

    with patch.object(L0Control, "begin", as_given), patch.object(L0Control, "answer", still):
        yield


def fitted(fit: Fit) -> Fit:
    """The fit with what was measured on held-out rows."""
    planted = Planted(width=32, truths=64, active=4.0, noise=0.02, seed=fit["seed"])
    x, new = (planted.sample(n, s)[0].astype(np.float32) for n, s in ((ROWS, 0), (HELD, 1)))
    options: dict[str, Any] = {"l0": fit["value"]}
    if fit["arm"] == "ramp":
        options["l0_start"] = RAMP * fit["value"]
    elif fit["arm"] == "sweep":
        options = {"sparsity": fit["value"]}
        if fit["kind"] == "jumprelu":  # as the control has them: only the coefficient differs
            options |= {"bandwidth": fit["bandwidth"]}
    alone: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if fit["arm"] == "held":
        options, alone = {"l0": math.prod(TARGETS) ** (1 / len(TARGETS))}, held(fit["value"])
    with alone:
        model = isthmus.fit(
            fit["kind"], x, steps=fit["steps"], seed=fit["seed"], warmup=fit["steps"] // 20,
            **TRAINING, **options,
        )  # fmt: skip
    found = isthmus.evaluate(model, new)
    measured = {name: found[name].value for name in ("l0", "fvu", "dead_share")}
    if fit["arm"] in ("control", "ramp"):
        bottleneck = expect(model.bottleneck, Penalised, "bottleneck", "the benchmark")
        control = expect(bottleneck.control, L0Control, "control", "the benchmark")
        measured["coefficient"] = float(control.coefficient)
        if isinstance(bottleneck, JumpReLUBottleneck):
            measured["bandwidth"] = float(bottleneck.bandwidth)
    return {**fit, **measured}


def planned(
    kinds: Sequence[str], steps: Sequence[int], seeds: Sequence[int], done: list[Fit]
) -> Iterator[Fit]:
    """Every fit, shorter ones first; those of a sweep once its controls are in ``done``."""
    for length in steps:
        for seed in seeds:
            for kind in kinds:
                about = {"kind": kind, "steps": length, "seed": seed}
                for arm in ("control", "ramp"):
                    for target in TARGETS:
                        yield {**about, "arm": arm, "value": target}
                mine = [f for f in done if about.items() <= f.items() and f["arm"] == "control"]
                middle = math.exp(statistics.mean(math.log(f["coefficient"]) for f in mine))
                more = {"bandwidth": mine[0]["bandwidth"]} if kind == "jumprelu" else {}
                for arm in ("held", "sweep"):
                    for factor in FACTORS:
                        value = float(f"{factor * middle:.4g}")
                        yield {**about, "arm": arm, "value": value, **more}


def at_equal_l0(fit: Fit, sweep: list[Fit]) -> float | None:
    """FVU of a fit over that of the sweep at its L0; None where the sweep does not reach it."""
    points = sorted((math.log(f["l0"]), math.log(f["fvu"])) for f in sweep if f["l0"] > 0)
    place = math.log(fit["l0"])
    if not points or not points[0][0] <= place <= points[-1][0]:
        return None
    expected = np.interp(place, [l0 for l0, _ in points], [fvu for _, fvu in points])
    return math.exp(math.log(fit["fvu"]) - float(expected))


def table(done: list[Fit]) -> list[str]:
    """Lines of the table: every fit of a control beside the sweep at its L0."""
    lines = ["| kind | steps | target | arm | L0 | FVU | dead | over held | over sweep |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for fit in sorted(done, key=key):
        if fit["arm"] in ("held", "sweep"):
            continue
        about = {name: fit[name] for name in ("kind", "steps", "seed")}.items()
        said = []
        for arm in ("held", "sweep"):
            ratio = at_equal_l0(fit, [f for f in done if f["arm"] == arm and about <= f.items()])
            said.append("out of reach" if ratio is None else f"{ratio:.3f}")
        lines.append(
            f"| {fit['kind']} | {fit['steps']:,} | {fit['value']:g} | {fit['arm']} | "
            f"{fit['l0']:.2f} | {fit['fvu']:.4f} | {100 * fit['dead_share']:.0f} % | "
            f"{' | '.join(said)} |"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("l0_control.jsonl"))
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0,))
    asked = parser.parse_args(arguments)
    lines = asked.out.read_text().splitlines() if asked.out.exists() else []
    done: list[Fit] = [json.loads(line) for line in lines]
    known = {key(fit) for fit in done}
    for fit in planned(asked.kinds, asked.steps, asked.seeds, done):
        if key(fit) in known:
            continue
        done.append(fitted(fit))
        with asked.out.open("a") as file:
            file.write(json.dumps(done[-1]) + "\n")
    print("\n".join(table(done)))


if __name__ == "__main__":
    main()
