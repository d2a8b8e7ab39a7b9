"""Dictionaries with a price, jumprelu, gated and relu-l1, from each library's own trainer, at equal
tokens and equal L0.

Every seed draws its own truth, rows and weights, the same truth and rows for all. isthmus is asked
for its L0. The other libraries are given a coefficient, which is searched for each seed until L0 is
within two per cent of the target, at most four times; FVU is then read at the target, on the line
between the nearest two tries in logarithms. (JumpReLU of dictionary_learning has a target of its
own: that is what is searched.) Rates are multiples of each library's own, the best on a seed that
does not count.

Rows are given to each library in the size that its defaults are meant for: mean squared norm 1 to
dictionary_learning, as its own script normalises, and as many as elements to SAELens; isthmus
scales for itself. Seconds are those of the last try alone.

    python -m benchmarks.sparse.trainers --json trainers.json

Every fit is kept in the file, and one that is there is not made again.
"""

import json
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sparse.arms import Arm, Client, clients, parser, planted_file
from benchmarks.sparse.measures import interval

KINDS = ("relu-l1", "gated", "jumprelu")
ARMS = (
    Arm("isthmus", "isthmus", KINDS),
    Arm("sae_lens", "sae_lens", KINDS),
    Arm("dictionary_learning", "dictionary_learning", KINDS),
)
TUNING = 1000
"""The seed that rates are chosen on."""
CLOSE, TRIES = math.log(1.02), 4
"""How near L0 has to come, and how often it is tried."""
Fit = dict[str, float]


def size(peer: str, d: int) -> float | None:
    """The mean squared norm of a row that a library's defaults are meant for (none: any)."""
    return {"dictionary_learning": 1.0, "sae_lens": float(d)}.get(peer)


def nearest(tries: list[Fit], target: float) -> Fit:
    """FVU at the target, on the line through the nearest two tries in logarithms."""
    ordered = sorted(tries, key=lambda t: abs(math.log(t["l0"] / target)))
    best = ordered[0]
    others = [t for t in ordered[1:] if abs(math.log(t["l0"] / best["l0"])) > 1e-3]
    if abs(math.log(best["l0"] / target)) < 1e-3 or not others:
        return best
    other = others[0]
    share = math.log(target / best["l0"]) / math.log(other["l0"] / best["l0"])
    if not -1.0 <= share <= 1.0:
        return best
    fvu = math.exp((1 - share) * math.log(best["fvu"]) + share * math.log(other["fvu"]))
    return {**best, "fvu": fvu}


def search(fit: Callable[[float], Fit], start: float, target: float, slope: float) -> list[Fit]:
    """Tries with one knob until L0 is at the target; ``slope``: d log L0 / d log knob at first."""
    knob, tries = start, []
    for _ in range(TRIES):
        found = {**fit(knob), "knob": knob}
        found["l0"] = max(found["l0"], 0.01)
        tries.append(found)
        off = math.log(target / found["l0"])
        if abs(off) < CLOSE:
            break
        if len(tries) > 1:
            last, before = tries[-1], tries[-2]
            moved = math.log(last["knob"] / before["knob"])
            if moved:
                seen = math.log(last["l0"] / before["l0"]) / moved
                if seen * slope > 0:
                    slope = math.copysign(min(4.0, max(0.2, abs(seen))), slope)
        knob *= math.exp(max(-2.3, min(2.3, off / slope)))
    return tries


def reached(fit: Fit, target: float) -> bool:
    """Whether the nearest try is near enough to be compared: within five per cent."""
    return abs(math.log(fit["l0"] / target)) < math.log(1.05)


class Bench:
    """The fits that there are, and how one is made."""

    def __init__(self, args: Any, folder: Path) -> None:
        self.args, self.folder = args, folder
        self.path: Path = args.json or Path("trainers.json")
        self.kept: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def rows(self, seed: int, norm: float | None) -> tuple[Path, Path]:
        """The rows to fit and those to judge by, in the size asked for."""
        made = self.folder / f"{seed}-{norm}.npy", self.folder / f"{seed}-{norm}-held.npy"
        if not made[0].exists():
            a = self.args
            planted, path = planted_file(
                self.folder, a.rows, seed, width=a.d, truths=a.truths, active=a.active, seed=seed
            )
            train = np.load(path)
            held = planted.at(np.arange(a.held), seed + 1_000_000)[0]
            factor = 1.0
            if norm is not None:
                factor = (norm / float(np.square(train).sum(1).mean())) ** 0.5
            for to, part in zip(made, (train, held), strict=True):
                np.save(to, (factor * part).astype(np.float32))
        return made

    def tries(
        self, client: Client, kind: str, seed: int, rate: float, start: float | None = None
    ) -> list[Fit]:
        """What one library reaches on a seed at a multiple of its rate."""
        arm, a = client.arm, self.args
        key = f"{kind}/{arm.name}/{seed}/{rate:g}"
        if key in self.kept:
            return self.kept[key]
        data, held = self.rows(seed, size(arm.peer, a.d))
        client.ask("data", path=str(data))
        own_target = arm.peer == "dictionary_learning" and kind == "jumprelu"

        def fit(knob: float) -> Fit:
            options: dict[str, Any] = {"rate": rate}
            k: float = a.k
            if own_target:
                k = knob
            elif arm.peer != "isthmus":
                options["sparsity"] = knob
            client.setup(
                kind=kind, width=a.width, k=k, batch=a.batch, steps=a.steps, seed=seed,
                options=options,
            )  # fmt: skip
            seconds = client.ask("step", n=a.steps)["seconds"]
            return {**client.ask("eval", held=str(held)), "seconds": seconds}

        if arm.peer == "isthmus":
            found = [fit(a.k)]
        else:
            first = start or (float(a.k) if own_target else FIRST[arm.peer, kind])
            found = search(fit, first, a.k, 1.0 if own_target else -1.0)
        self.kept[key] = found
        self.path.write_text(json.dumps(self.kept, indent=1) + "\n")
        print(f"  {key:40} {nearest(found, a.k)}", flush=True)
        return found


FIRST = {
    ("dictionary_learning", "relu-l1"): 0.1,
    ("dictionary_learning", "gated"): 0.1,
    ("sae_lens", "relu-l1"): 2.0,
    ("sae_lens", "gated"): 2.0,
    ("sae_lens", "jumprelu"): 1.0,
}
"""Coefficients to begin the search with."""


def table(
    found: dict[str, dict[str, list[Fit]]], rates: dict[tuple[str, str], float], target: float
) -> str:
    """Means with t intervals over the seeds, and paired ratios to isthmus at equal L0 only."""
    lines = [
        "| kind | library | rate | L0 | FVU | FVU of isthmus over it | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, arms in found.items():
        for name, fits in arms.items():
            logs = [
                math.log(o["fvu"] / t["fvu"]) for o, t in zip(arms["isthmus"], fits, strict=True)
            ]
            gap = interval(logs)
            shown = "" if name == "isthmus" else (
                f"{math.exp(gap.mean):.3f} [{math.exp(gap.low):.3f}, {math.exp(gap.high):.3f}]"
            )  # fmt: skip
            if not all(reached(f, target) for f in (*arms["isthmus"], *fits)):
                shown = "not at equal L0"
            l0, seconds = (statistics.mean(f[n] for f in fits) for n in ("l0", "seconds"))
            lines.append(
                f"| {kind} | {name} | x{rates[kind, name]:g} | {l0:.2f} | "
                f"{interval([f['fvu'] for f in fits])} | {shown} | {seconds:.1f} |"
            )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Choose the rates, fit on every seed, and print the table."""
    made = parser(__doc__ or "")
    for name, kind, default in (
        ("d", int, 64), ("truths", int, 256), ("active", float, 8.0), ("width", int, 512),
        ("k", int, 8), ("batch", int, 512), ("steps", int, 1000), ("rows", int, 1 << 16),
        ("held", int, 4096), ("seeds", int, 5),
    ):  # fmt: skip
        made.add_argument(f"--{name}", type=kind, default=default)
    made.add_argument("--kinds", default=",".join(KINDS))
    made.add_argument("--rates", default="1,4,16", help="multiples of each learning rate, by comma")
    args = made.parse_args(argv)
    found: dict[str, dict[str, list[Fit]]] = {}
    rates: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(args, Path(name))
        data, _ = bench.rows(TUNING, None)
        with clients(list(ARMS), data, args.peers_python, args.threads) as running:
            for kind in args.kinds.split(","):
                found[kind] = {}
                for arm, client in running.items():
                    tuned = {
                        float(rate): bench.tries(client, kind, TUNING, float(rate))
                        for rate in args.rates.split(",")
                    }
                    read = {rate: nearest(tries, args.k) for rate, tries in tuned.items()}
                    near = {r: fit for r, fit in read.items() if reached(fit, args.k)} or read
                    rate = min(near, key=lambda r: near[r]["fvu"])
                    rates[kind, arm] = rate
                    start = read[rate].get("knob")
                    found[kind][arm] = [
                        nearest(bench.tries(client, kind, seed, rate, start), args.k)
                        for seed in range(args.seeds)
                    ]
    print(table(found, rates, args.k))


if __name__ == "__main__":
    main()
