"""What each library's own trainer learns from the same tokens, at the same width.

Planted rows; each seed draws its own truth, rows and initial weights, the same truth and rows for
every library. Held-out FVU and the planted directions recovered (a decoder row with a cosine above
0.9) are computed here, by one function for all. Intervals are 95 % t intervals over seeds, those of
the differences (isthmus minus peer) paired. FVU is comparable at equal L0 only, which is printed.

``--rates 1,3`` runs every library at these multiples of its own learning rate; the one with the
lowest mean FVU stands for it.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sparse.arms import (
    AS_IT_COMES,
    Arm,
    Failed,
    clients,
    ours,
    parser,
    planted_file,
    wanted,
)
from benchmarks.sparse.measures import interval, recovered

EVERYONE = (
    *ours(["auto"]),
    Arm("sparsify signum", "sparsify", ("topk",), {"optimizer": "signum"}),
    *AS_IT_COMES,
)
"""sparsify with its default optimiser, and with Adam as everyone else."""


def learn(kind: str, arms: list[Arm], seed: int, rate: float, args: Any) -> dict[str, Any]:
    """Train every arm on the seed's rows, one after the other, and measure it."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted, data = planted_file(
            folder, args.rows, seed, width=args.d, truths=args.truths, active=args.active, seed=seed
        )
        held, rows = folder / "held.npy", folder / "decoder.npy"
        np.save(held, planted.at(np.arange(args.held), seed + 1_000_000)[0])
        for arm in arms:
            # One at a time: whoever does not train needs no memory.
            with clients([arm], data, args.peers_python, args.threads) as running:
                for client in running.values():
                    try:
                        client.setup(
                            kind=kind, width=args.width, k=args.k, batch=args.batch,
                            steps=args.steps, seed=seed, options={"rate": rate},
                        )  # fmt: skip
                        seconds = client.ask("step", n=args.steps)["seconds"]
                        answer = client.ask("eval", held=str(held), decoder=str(rows))
                    except Failed as problem:
                        print(f"  no {problem}", flush=True)
                        continue
                    hit = recovered(np.load(rows), planted.directions)
                    found[arm.name] = {**answer, "recovered": hit, "seconds": seconds}
    return found


def show(kind: str, runs: dict[float, list[dict[str, Any]]], args: Any) -> None:
    """Print each library at its best rate, and the paired differences from isthmus."""
    print(f"\n{kind}, planted {args.d} wide, {args.truths} truths, {args.active:g} active; "
          f"width {args.width}, k {args.k}, {args.steps} batches of {args.batch}, "
          f"{args.seeds} seeds")  # fmt: skip
    best: dict[str, tuple[float, list[dict[str, Any]]]] = {}
    for rate, seeds in runs.items():
        for name in seeds[0]:
            if not all(name in seed for seed in seeds):
                continue
            mine = [seed[name] for seed in seeds]
            if name not in best or _mean(mine, "fvu") < _mean(best[name][1], "fvu"):
                best[name] = (rate, mine)
    for name, (rate, mine) in best.items():
        parts = [f"{m} {interval([one[m] for one in mine])}" for m in ("fvu", "recovered", "l0")]
        print(f"  {name:22} rate x{rate:<4g} {'  '.join(parts)}  {_mean(mine, 'seconds'):.1f} s")
    if "isthmus" not in best:
        return
    own = best["isthmus"][1]
    for name, (_, theirs) in best.items():
        if name != "isthmus":
            gaps = {
                m: interval([a[m] - b[m] for a, b in zip(own, theirs, strict=True)])
                for m in ("fvu", "recovered")
            }
            print(f"  isthmus - {name:22} fvu {gaps['fvu']}  recovered {gaps['recovered']}")


def _mean(runs: list[dict[str, Any]], measure: str) -> float:
    return float(np.mean([run[measure] for run in runs]))


def main(argv: list[str] | None = None) -> None:
    """Compare the kinds asked for."""
    made = parser(__doc__ or "")
    for name, kind, default in (
        ("d", int, 128), ("truths", int, 1024), ("active", float, 16.0), ("width", int, 2048),
        ("k", int, 16), ("batch", int, 1024), ("steps", int, 2000), ("rows", int, 1 << 18),
        ("held", int, 8192), ("seeds", int, 5),
    ):  # fmt: skip
        made.add_argument(f"--{name}", type=kind, default=default)
    made.add_argument("--kinds", default="topk,batchtopk")
    made.add_argument("--rates", default="1", help="multiples of each learning rate, by comma")
    args = made.parse_args(argv)
    results = []
    for kind in args.kinds.split(","):
        arms = wanted(EVERYONE, args.only, kind)
        runs = {
            float(rate): [learn(kind, arms, s, float(rate), args) for s in range(args.seeds)]
            for rate in args.rates.split(",")
        }
        show(kind, runs, args)
        results.append({"kind": kind, "rates": {str(r): s for r, s in runs.items()}})
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
