"""A training step of every kind of dictionary beside TopK's, in turns, through ``isthmus.fit``.

Planted rows, the same for all; width, batch and active latents alike, options as each recipe has
them. Kinds with a penalty hold the same L0. Ratios are pair by pair, in brackets their middle half.
Run it on a quiet machine; ``isthmus doctor`` says which kernels it has.

    python -m benchmarks.sparse.kind_steps [--kinds mp-sae "topk, budgets"] [--rounds 7]
"""

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.sparse.every_kind import BY_ITSELF, BY_STEPS
from benchmarks.sparse.ours import Isthmus
from benchmarks.timing import interleave, ratio
from isthmus.data import Planted

KINDS: dict[str, dict[str, Any]] = {
    **BY_STEPS,
    "topk, 8 budgets": {"recipe": "topk", "budgets": 8},
    **BY_ITSELF,
    "llama-scope": {"recipe": "llama-scope"},
    "mfr": {"recipe": "mfr"},
    "k-sparse": {"recipe": "k-sparse"},
    "codebook": {"recipe": "codebook"},
    "g-sae": {"recipe": "g-sae"},
    "csae": {"recipe": "csae"},
}
"""Recipe and options by name; "k" is the number of active latents."""


def rows_for(recipe: str, rows: np.ndarray, rng: np.random.Generator) -> Any:
    """The rows as the recipe reads them: with gradients, as pairs, or as they are."""
    if recipe == "g-sae":
        return {"x": rows, "gradient": rng.standard_normal(rows.shape).astype(np.float32)}
    if recipe == "csae":
        noise = 0.1 * rng.standard_normal(rows.shape).astype(np.float32)
        return {"one": rows, "other": rows + noise}
    return rows


def started(name: str, args: argparse.Namespace, data: Any) -> Isthmus:
    """A run of a kind, held before its first step."""
    options: Mapping[str, Any] = KINDS[name]
    chosen = {key: args.k if value == "k" else value for key, value in options.items()}
    recipe = str(chosen.pop("recipe"))
    return Isthmus(recipe, data, args.width, args.k, args.batch, 10_000, 0, **chosen)


def main() -> None:
    """Print a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("d", 256), ("width", 4096), ("k", 32), ("batch", 1024), ("steps", 5),
                          ("rounds", 7)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kinds", nargs="+", default=[*KINDS], choices=KINDS, metavar="KIND")
    args = parser.parse_args()
    rows = Planted(args.d, 4 * args.d, active=16.0, seed=0).sample(1 << 15, 0)[0]
    threads = torch.get_num_threads()
    print(f"{args.d} -> {args.width}, k = {args.k}, batch {args.batch}, {threads} threads")
    for name in args.kinds:
        rng = np.random.default_rng(0)
        pair = {"topk": started("topk", args, rows)}
        recipe = str(KINDS[name]["recipe"])
        pair.setdefault(name, started(name, args, rows_for(recipe, rows, rng)))
        for run in pair.values():
            run.run(args.steps)  # what is set up from data comes with the first steps
        arms = {one: (lambda run=run: run.run(args.steps)) for one, run in pair.items()}
        seconds = interleave(arms, args.rounds)
        spent = 1000 * statistics.median(seconds[name]) / args.steps
        print(f"{spent:9.1f} ms  {ratio(seconds, name, 'topk')}", flush=True)
        for run in pair.values():
            run.stop()


if __name__ == "__main__":
    main()
