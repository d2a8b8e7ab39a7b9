"""Every kind of dictionary, and the classical baselines, at four sparsities on four sets of rows.

Planted sparse combinations of 128 directions in 32 dimensions (which directions are recovered is
known), a planted tree of parents and children (absorption is known), activations of a ResNet-18
(where ``ISTHMUS_DATA`` has them) and those of the resident language model. Rows are the same for
all seeds, which differ in the start and the order of batches alone: so there is a stability between
them, the share of atoms that two runs have in common. Same width, steps, batch and learning rate
for all that are trained by steps; kinds with a penalty are asked for their L0, never for a
coefficient.

    python -m benchmarks.sparse.every_kind -o every_kind.json

What is in the file already is not fitted again.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isthmus
from benchmarks.language import tokens_of
from isthmus.activations import harvest
from isthmus.data import Planted
from isthmus.evaluation import Absorption, recovery, seed_stability
from isthmus.language import open_model
from isthmus.language.texts import default_text
from isthmus.studies.sparse.absorption import TREE, TREE_FREQUENCIES, TREE_SIZES

LEVELS = (4, 8, 16, 32)
BY_STEPS: dict[str, dict[str, Any]] = {
    "topk": {"recipe": "topk"},
    "topk, budgets": {"recipe": "topk", "budgets": "k"},
    "topk, grouped": {"recipe": "topk", "grouped": True},
    "topk, archetypal": {"recipe": "topk", "archetypal": 1.0},
    "batchtopk": {"recipe": "batchtopk"},
    "abstopk": {"recipe": "abstopk"},
    "matryoshka": {"recipe": "matryoshka"},
    "msae": {"recipe": "msae"},
    "switch": {"recipe": "switch"},
    "vsae": {"recipe": "vsae"},
    "mp-sae": {"recipe": "mp-sae"},
    "relu-l1": {"recipe": "relu-l1"},
    "relu-l1, p falls": {"recipe": "relu-l1", "p_end": 0.2},
    "gated": {"recipe": "gated"},
    "jumprelu": {"recipe": "jumprelu"},
}
"""Kinds that are told how many latents are to be active."""
BY_ITSELF = {"top-afa": {"recipe": "top-afa"}, "gba": {"recipe": "gba"}}
"""Kinds that find the number themselves: one fit serves all levels."""
CLASSICAL: dict[str, dict[str, Any]] = {
    "sparse-coding": {"recipe": "sparse-coding", "rows": 8192, "passes": 2},
    "pca": {"recipe": "pca"},
    "ica": {"recipe": "ica"},
    "nmf": {"recipe": "nmf"},
    "k-means": {"recipe": "k-means", "rows": 16_384, "restarts": 1},
}
"""Fitted by scikit-learn. Of pca, ica and nmf the level is the number of components, all active."""
BY_L0 = ("relu-l1", "gated", "jumprelu")
STEPS = {"planted": 4000, "tree": 4000, "resnet18": 600, "resident": 600}
SETS = ("planted", "tree", "resnet18", "resident")
WIDTH = {"planted": 256, "tree": 128, "resnet18": 1024, "resident": 1024}
MEASURES = ("fvu", "l0", "dead_share", "recovered", "absorption", "stability")
Point = dict[str, Any]


class Ground:
    """Rows to fit, rows to judge by, and what is known of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: Planted | None = None
        if name in ("planted", "tree"):
            self.known = (
                Planted(width=32, truths=128, active=4.0, seed=0)
                if name == "planted"
                else Planted(50, len(TREE), frequencies=TREE_FREQUENCIES, magnitudes=TREE_SIZES,
                             tree=TREE, geometry="orthogonal", seed=0)
            )  # fmt: skip
            self.rows = self.known.sample(1 << 16, 0)[0]
            self.held, self.truth = self.known.sample(8192, 1)
            return
        rows = _resnet() if name == "resnet18" else _resident()
        order = np.random.default_rng(0).permutation(len(rows))
        held = min(4096, len(rows) // 5)
        self.rows, self.held = rows[order[held:]], rows[order[:held]]

    def measure(self, model: isthmus.Autoencoder) -> Point:
        """All that can be said of one model here."""
        result = isthmus.evaluate(model, self.held)
        point = {name: result[name].value for name in ("fvu", "l0", "dead_share") if name in result}
        point.setdefault("l0", float(model.encode(self.held[:1]).shape[-1]))
        if self.known is not None and model.atoms() is not None:
            atoms = model.atoms().detach().numpy()
            point["recovered"] = recovery(atoms, self.known.directions).value
        if self.name == "tree" and self.known is not None and point["l0"] < len(TREE):
            judged = Absorption(model, self.held, self.truth, self.known.parents)
            point["absorption"] = judged.rate().value
        return point


def _resnet() -> np.ndarray:
    path = Path(os.environ["ISTHMUS_DATA"]) / "activations" / "resnet18_cifar10_0.npz"
    return np.load(path)["X"].astype(np.float32)


def _resident() -> np.ndarray:
    host, at = open_model("resident"), "layers.1"
    text = "training" if default_text() == "held-out" else "samples:400"
    with tempfile.TemporaryDirectory() as folder:
        store = harvest(host, tokens_of(host, text, 40_000), at, Path(folder) / "store")
        source = store.source(at)
        return source.rows(torch.arange(len(source))).numpy().copy()


@cache
def ground(name: str) -> Ground:
    """Each set of rows is made once."""
    return Ground(name)


def fits(names: list[str]) -> Iterator[tuple[str, str, int | None, dict[str, Any]]]:
    """Set of rows, kind, level and options of all that is fitted."""
    for name in names:
        for level in LEVELS:
            for kind, options in BY_STEPS.items():
                number = {"l0": float(level)} if options["recipe"] in BY_L0 else {"k": level}
                chosen = {n: level if v == "k" else v for n, v in options.items()}
                yield name, kind, level, {**chosen, **number}
            yield name, "sparse-coding", level, {**CLASSICAL["sparse-coding"], "k": level}
            for kind in ("pca", "ica", "nmf"):
                yield name, kind, level, {**CLASSICAL[kind], "latent_dim": level}
        for kind, options in BY_ITSELF.items():
            yield name, kind, None, dict(options)
        yield name, "k-means", None, dict(CLASSICAL["k-means"])


def fit(name: str, options: dict[str, Any], seed: int) -> isthmus.Autoencoder:
    """One model of one seed."""
    options = {"latent_dim": WIDTH[name], **options}
    recipe = options.pop("recipe")
    if recipe not in CLASSICAL:
        options |= {"steps": STEPS[name], "batch_size": 512, "lr": 1e-3, "average": None}
    return isthmus.fit(recipe, ground(name).rows, seed=seed, progress=False, **options)


def group(name: str, options: dict[str, Any], seeds: int) -> list[Point]:
    """The points of all seeds of one kind at one level."""
    try:
        models = [fit(name, options, seed) for seed in range(seeds)]
    except isthmus.IsthmusError as problem:  # nmf takes no negative numbers
        return [{"seed": 0, "why": str(problem)}]
    points = [{"seed": seed, **ground(name).measure(m)} for seed, m in enumerate(models)]
    if seeds > 1 and options["recipe"] not in CLASSICAL:
        atoms = [model.atoms().detach() for model in models]  # some encoders have no rows
        share = seed_stability([(rows, rows) for rows in atoms]).value
        points = [{**point, "stability": share} for point in points]
    return points


def table(points: list[Point], name: str, level: int) -> str:
    """Means over the seeds at one level, the best FVU first."""
    lines = [
        "| kind | L0 | FVU (range) | silent | recovered | absorption | stability |",
        "| --- |" + " --- |" * 6,
    ]
    rows = []
    for kind in (*BY_STEPS, *BY_ITSELF, *CLASSICAL):
        own = [p for p in points if (p["data"], p["kind"]) == (name, kind) and "fvu" in p
               and p["asked"] in (level, None)]  # fmt: skip
        if not own:
            continue
        mean = {m: statistics.mean(p[m] for p in own) for m in MEASURES if m in own[0]}
        fvu = [p["fvu"] for p in own]
        rest = [f"{mean[m]:.2f}" if m in mean else "" for m in MEASURES[2:]]
        spread = f"{mean['fvu']:.3f} ({min(fvu):.3f} to {max(fvu):.3f})"
        cells = [kind, f"{mean['l0']:.1f}", spread, *rest]
        rows.append((mean["fvu"], f"| {' | '.join(cells)} |"))
    return "\n".join([*lines, *(line for _, line in sorted(rows))])


def picture(points: list[Point], path: Path) -> None:
    """FVU, and what else a set knows, over L0; lines are means over the seeds, dots the seeds."""
    from matplotlib.figure import Figure

    panels = [("planted", "fvu"), ("planted", "recovered"), ("tree", "absorption"),
              ("resnet18", "fvu"), ("resident", "fvu"), ("resident", "stability")]  # fmt: skip
    panels = [(n, m) for n, m in panels if any(p["data"] == n and m in p for p in points)]
    kinds = (*BY_STEPS, *BY_ITSELF, *CLASSICAL)
    figure = Figure(figsize=(17, 5 * -(-len(panels) // 3)), layout="constrained")
    for place, (name, measure) in enumerate(panels):
        axes = figure.add_subplot(-(-len(panels) // 3), 3, place + 1)
        for number, kind in enumerate(kinds):
            own = [p for p in points if (p["data"], p["kind"]) == (name, kind) and measure in p]
            levels = sorted({p["asked"] or 0 for p in own})
            mean = [[statistics.mean(p[m] for p in own if (p["asked"] or 0) == level)
                     for level in levels] for m in ("l0", measure)]  # fmt: skip
            style = ("-", "--", ":")[number // 10]
            axes.plot(*mean, style, color=f"C{number % 10}", marker="o", ms=3, label=kind)
            axes.plot([p["l0"] for p in own], [p[measure] for p in own], ".",
                      color=f"C{number % 10}", alpha=0.4, ms=3)  # fmt: skip
        axes.set(xscale="log", xlabel="L0 (held-out rows)", ylabel=measure, title=name)
        axes.set_xticks(LEVELS, [str(level) for level in LEVELS])
        axes.minorticks_off()
        if measure == "fvu":
            axes.set(yscale="log", ylabel="FVU (held-out rows), lower is better")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper",
                  frameon=False)  # fmt: skip
    figure.savefig(path, dpi=90)


def main(argv: list[str] | None = None) -> None:
    """Fit what is missing, and write the points and the picture."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--data", default=",".join(SETS))
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("-o", "--output", type=Path, default=Path("every_kind.json"))
    args = made.parse_args(argv)
    points: list[Point] = json.loads(args.output.read_text()) if args.output.exists() else []
    done = {(p["data"], p["kind"], p["asked"]) for p in points}
    left = [f for f in fits(args.data.split(",")) if f[:3] not in done]
    begun = time.monotonic()
    for number, (name, kind, level, options) in enumerate(left):
        same = {"data": name, "kind": kind, "asked": level}
        points += [same | point for point in group(name, options, args.seeds)]
        args.output.write_text(json.dumps(points, indent=1) + "\n")
        spent = time.monotonic() - begun
        remaining = spent / (number + 1) * (len(left) - number - 1) / 60
        at = f"{name} {kind} {level}"
        print(f"{number + 1}/{len(left)}  {remaining:.0f} min left  {at}", flush=True)
    picture(points, args.output.with_suffix(".png"))
    for name in args.data.split(","):
        print(f"\n{name}, asked for 16:\n\n{table(points, name, 16)}")


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    main()
