"""Reconstruction against sparsity for every sparse kind: FVU over L0, on held-out rows.

Two sets of rows: planted sparse combinations of 512 directions in 64 dimensions, and the real
activations of a ResNet-18 (where ``ISTHMUS_DATA`` has them). All kinds of one seed are fitted from
one pass over the data, with the same width, steps, batch and learning rate; kinds with a penalty
are asked for their L0, never for a coefficient.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isthmus
from isthmus.data import Planted

LEVELS = (4, 8, 16, 32)
BY_PENALTY = ("relu-l1", "gated", "jumprelu")
BY_NUMBER = ("topk", "batchtopk", "abstopk", "matryoshka")
WIDTH = 1024
STEPS = {"planted": 600, "resnet18": 400}
Point = dict[str, Any]


def rows_of(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit and rows to judge by."""
    if name == "planted":
        planted = Planted(width=64, truths=512, active=8.0, seed=seed)
        return planted.sample(1 << 16, 0)[0], planted.sample(8192, 1)[0]
    path = Path(os.environ["ISTHMUS_DATA"]) / "activations" / "resnet18_cifar10_0.npz"
    rows = np.load(path)["X"].astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows[order[1000:]], rows[order[:1000]]


def variants() -> dict[str, dict[str, Any]]:
    """What is fitted, by name."""
    chosen: dict[str, dict[str, Any]] = {}
    for level in LEVELS:
        for recipe in BY_PENALTY:
            chosen[f"{recipe}-{level}"] = {"recipe": recipe, "l0": float(level)}
        for recipe in BY_NUMBER:
            chosen[f"{recipe}-{level}"] = {"recipe": recipe, "k": level}
    chosen["msae-4"] = {"recipe": "msae", "k": LEVELS[0]}
    return chosen


def measure(model: isthmus.Autoencoder, held: np.ndarray) -> Point:
    """FVU, L0 and the share of dead latents."""
    found = isthmus.evaluate(model, held)
    return {name: found[name].value for name in ("fvu", "l0", "dead_share")}


def run(name: str, seed: int) -> list[Point]:
    """All kinds on one set of rows."""
    train, held = rows_of(name, seed)
    models = isthmus.fit_many(
        variants(), train, latent_dim=WIDTH, steps=STEPS[name], batch_size=512, lr=1e-3,
        average=None, seed=seed,
    )  # fmt: skip
    points = []
    for title, model in models.items():
        recipe, asked = title.rsplit("-", 1)
        for level in LEVELS if recipe == "msae" else (int(asked),):
            if recipe == "msae":
                model.bottleneck.use(level)  # type: ignore[operator, union-attr]
            points.append(
                {"data": name, "seed": seed, "kind": recipe, "asked": level, **measure(model, held)}
            )
    return points


def table(points: list[Point]) -> str:
    """Mean and range over the seeds, one line for each kind and level."""
    lines = [
        "| data | kind | asked | L0 | FVU | range of FVU | dead |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = sorted({(p["data"], p["kind"], p["asked"]) for p in points})
    for data, kind, asked in keys:
        own = [p for p in points if (p["data"], p["kind"], p["asked"]) == (data, kind, asked)]
        fvu = [p["fvu"] for p in own]
        l0, dead = (statistics.mean(p[n] for p in own) for n in ("l0", "dead_share"))
        lines.append(
            f"| {data} | {kind} | {asked} | {l0:.2f} | {statistics.mean(fvu):.4f} | "
            f"{min(fvu):.4f} to {max(fvu):.4f} | {dead:.2f} |"
        )
    return "\n".join(lines)


def picture(points: list[Point], path: Path) -> None:
    """One panel for each set of rows; a line is the mean over the seeds, dots are the seeds."""
    from matplotlib.figure import Figure

    names = sorted({p["data"] for p in points})
    figure = Figure(figsize=(6.0 * len(names), 4.6), layout="constrained")
    kinds = (*BY_NUMBER, "msae", *BY_PENALTY)
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        for number, kind in enumerate(kinds):
            own = [p for p in points if p["data"] == name and p["kind"] == kind]
            levels = sorted({p["asked"] for p in own})
            mean = [
                [statistics.mean(p[n] for p in own if p["asked"] == level) for level in levels]
                for n in ("l0", "fvu")
            ]
            dashed = "--" if kind in BY_PENALTY else "-"
            axes.plot(*mean, dashed, color=f"C{number}", label=kind)
            axes.plot(
                [p["l0"] for p in own], [p["fvu"] for p in own], ".", color=f"C{number}", alpha=0.5
            )
        axes.set(xscale="log", yscale="log", xlabel="L0 (held-out rows)", title=name)
        axes.set_xticks(LEVELS, [str(level) for level in LEVELS])
        axes.minorticks_off()
        axes.set_ylabel("FVU (held-out rows), lower is better")
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Fit, and write the picture and the points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=",".join(STEPS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("frontier.json"))
    chosen = parser.parse_args()
    points: list[Point] = []
    for seed in range(chosen.seeds):
        for name in chosen.data.split(","):
            points += run(name, seed)
            chosen.out.write_text(json.dumps(points, indent=1))
    picture(points, chosen.out.with_suffix(".png"))
    print(table(points))


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    main()
