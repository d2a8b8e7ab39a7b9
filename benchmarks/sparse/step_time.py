"""Milliseconds a step and peak memory of isthmus and of its peers, in turns in one run.

Every library trains the same dictionary with float32 parameters and Adam on the same planted rows,
each in a process of its own: as it comes, and at its best (allocator kept warm, bf16 products
allowed, its own speed options). isthmus runs through ``isthmus.fit``: on each kernel path without
clipping and weight averaging, which the fastest peer does not do either, and as it comes, with what
the recipe's paper prescribes. Ratios are medians of paired rounds with their middle half.
"""

import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sparse.arms import (
    AS_IT_COMES,
    AT_BEST,
    KINDS,
    Arm,
    Client,
    Failed,
    clients,
    ours,
    parser,
    planted_file,
    wanted,
)
from benchmarks.timing import interleave, ratio


@dataclass(frozen=True)
class Shape:
    """Sizes of one comparison."""

    d: int
    width: int
    batch: int
    truths: int = 4096
    active: float = 32.0
    rows: int = 65_536


SHAPES = {
    "small": Shape(512, 8192, 4096),
    "large": Shape(768, 24_576, 2048),
    "toy": Shape(32, 256, 64, truths=64, active=4.0, rows=1024),
}
PLANNED = 100_000
"""The length of the run that the steps belong to, for schedules."""


def measure(kind: str, shape: Shape, arms: list[Arm], data: Path, args: Any) -> dict[str, Any]:
    """Set the arms up, let them take turns, and return their figures by name."""
    with clients(arms, data, args.peers_python, args.threads) as running:
        for name, client in list(running.items()):
            try:
                client.setup(kind=kind, width=shape.width, k=args.k, batch=shape.batch,
                             steps=PLANNED, seed=0)  # fmt: skip
                client.ask("step", n=args.warm)
            except Failed as problem:
                print(f"  no {problem}")
                running.pop(name).close()
        if not running:
            return {}

        def arm(client: Client) -> Any:
            return lambda: client.ask("step", n=args.steps)["seconds"] / args.steps

        seconds = interleave({name: arm(c) for name, c in running.items()}, args.rounds)
        memory = {name: client.ask("peak") for name, client in running.items()}
    return {
        name: {"seconds": taken, **memory[name]}
        for name, taken in seconds.items()
    }  # fmt: skip


def show(kind: str, title: str, figures: dict[str, Any]) -> None:
    """Print one table, the ratios to the best peer as it comes and at its best, and memory."""
    print(f"\n{kind}, {title}")
    print(f"  {'':28} {'ms a step':>10} {'middle half':>19} {'peak MB':>9} {'added MB':>9}")
    for name, figure in figures.items():
        taken = sorted(1000 * s for s in figure["seconds"])
        quarter = len(taken) // 4
        spread = f"[{taken[quarter]:.1f}, {taken[-1 - quarter]:.1f}]"
        peak, added = figure["peak"] / 1e6, (figure["peak"] - figure["before"]) / 1e6
        print(f"  {name:28} {statistics.median(taken):10.2f} {spread:>19} {peak:9.0f} {added:9.0f}")
    seconds = {name: figure["seconds"] for name, figure in figures.items()}
    own = [name for name in figures if name.startswith("isthmus")]
    theirs = [name for name in figures if name not in own]
    for label, group in (
        ("at its best", theirs),
        ("as it comes", [name for name in theirs if " best" not in name]),
    ):
        if group and own:
            best = min(group, key=lambda name: statistics.median(seconds[name]))
            for name in own:
                print(f"  best peer {label}: {ratio(seconds, best, name)}")
    if theirs and own:
        added = {name: f["peak"] - f["before"] for name, f in figures.items()}
        lean = min(theirs, key=added.__getitem__)
        print(f"  added memory, {own[0]} / {lean}: {added[own[0]] / added[lean]:.3f}")


def main(argv: list[str] | None = None) -> None:
    """Measure the kinds and shapes asked for."""
    made = parser(__doc__ or "")
    made.add_argument("--kinds", default=",".join(KINDS))
    made.add_argument("--shapes", default="small,large", help=", ".join(SHAPES))
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--steps", type=int, default=3, help="steps of one turn")
    made.add_argument("--warm", type=int, default=2, help="steps before the first turn")
    made.add_argument("--k", type=int, default=32)
    made.add_argument("--paths", default="auto", help="isthmus' kernel paths, by comma")
    args = made.parse_args(argv)
    everyone = ours(args.paths.split(","), clip=None, average=None) + AS_IT_COMES + AT_BEST
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.shapes.split(","):
            shape = SHAPES[size]
            _, data = planted_file(
                Path(folder), shape.rows, width=shape.d, truths=shape.truths, active=shape.active
            )
            for kind in args.kinds.split(","):
                arms = wanted(everyone, args.only, kind)
                figures = measure(kind, shape, arms, data, args)
                title = f"{shape.d} -> {shape.width}, batch {shape.batch}, k = {args.k}"
                show(kind, title, figures)
                results.append({"kind": kind, "shape": title, "arms": figures})
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
