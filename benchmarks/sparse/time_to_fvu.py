"""Seconds of training until a held-out FVU is reached, isthmus and SAELens in turns.

Both train TopK dictionaries on the same planted rows. After every few steps the clock stops and the
held-out rows are rebuilt; isthmus with the averaged weights that it would return.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sparse.arms import (
    AS_IT_COMES,
    AT_BEST,
    Client,
    Failed,
    clients,
    ours,
    parser,
    planted_file,
    wanted,
)
from benchmarks.sparse.measures import interval
from benchmarks.sparse.step_time import SHAPES


class Race:
    """One arm on its way to the target: its steps, seconds and curve."""

    def __init__(self, client: Client, held: Path, args: Any) -> None:
        self.client, self.held, self.args = client, held, args
        self.steps, self.seconds, self.curve = 0, 0.0, []

    @property
    def over(self) -> bool:
        """Whether the target is reached or the steps are used up."""
        reached = bool(self.curve) and self.curve[-1][2] <= self.args.target
        return reached or self.steps >= self.args.steps

    def advance(self) -> None:
        """A few steps, then a look at the held-out rows."""
        few = min(self.args.every, self.args.steps - self.steps)
        self.seconds += self.client.ask("step", n=few)["seconds"]
        self.steps += few
        fvu = self.client.ask("eval", held=str(self.held))["fvu"]
        self.curve.append((self.steps, self.seconds, fvu))


def main(argv: list[str] | None = None) -> None:
    """Run the race once for each seed."""
    made = parser(__doc__ or "")
    made.add_argument("--shape", default="small", help=", ".join(SHAPES))
    made.add_argument("--target", type=float, default=0.7)
    made.add_argument("--steps", type=int, default=400, help="the most steps, and the run's plan")
    made.add_argument("--every", type=int, default=5, help="steps between two looks")
    made.add_argument("--rows", type=int, default=1 << 17)
    made.add_argument("--held", type=int, default=2048)
    made.add_argument("--k", type=int, default=32)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--paths", default="auto")
    args = made.parse_args(argv)
    shape = SHAPES[args.shape]
    everyone = ours(args.paths.split(",")) + AS_IT_COMES + AT_BEST
    arms = wanted(everyone, args.only or "sae_lens", "topk")
    curves: dict[str, list[list[tuple[int, float, float]]]] = {arm.name: [] for arm in arms}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted, data = planted_file(
            folder, args.rows, width=shape.d, truths=shape.truths, active=shape.active
        )
        held = folder / "held.npy"
        np.save(held, planted.at(np.arange(args.held), 1)[0])
        with clients(arms, data, args.peers_python, args.threads) as running:
            for seed in range(args.seeds):
                races = {}
                for arm, client in running.items():
                    try:
                        client.setup(kind="topk", width=shape.width, k=args.k, batch=shape.batch,
                                     steps=args.steps, seed=seed)  # fmt: skip
                        races[arm] = Race(client, held, args)
                    except Failed as problem:
                        print(f"  no {problem}")
                while any(not race.over for race in races.values()):
                    for race in races.values():
                        if not race.over:
                            race.advance()
                for arm, race in races.items():
                    curves[arm].append(race.curve)
                    steps, seconds, fvu = race.curve[-1]
                    print(f"  seed {seed} {arm:24} {seconds:8.2f} s {steps:5} steps  "
                          f"FVU {fvu:.4f}", flush=True)  # fmt: skip
    print(f"\nseconds to a held-out FVU of {args.target}, {shape.d} -> {shape.width}, "
          f"k = {args.k}, batch {shape.batch}")  # fmt: skip
    for arm, runs in curves.items():
        if runs:
            missed = sum(run[-1][2] > args.target for run in runs)
            note = f"  (not reached in {missed} of {len(runs)})" if missed else ""
            print(f"  {arm:24} {interval([run[-1][1] for run in runs])}{note}")
    if args.json:
        args.json.write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    main()
