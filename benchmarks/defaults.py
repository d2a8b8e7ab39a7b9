"""What users get who say nothing: every recipe at its defaults on three sets that suit it.

    python -m benchmarks.defaults [--only plain,vae] [--sets table,image] [--published]

Each fit prints its seconds (also the processor's), its steps, whether it ended before its plan,
the loss on the held-out rows and, on a tenth of the rows that it never saw, the fraction of
variance unexplained. With ``--published`` eight recipes train once more, as long as their pages
say and at the same sizes, on a set so small that they end. Results are kept in
``docs/defaults.json``, from which ``docs/defaults.md`` is written; what is there already is not
done again, unless it is named by ``--only``. Needs the shared sets (ISTHMUS_DATA).
"""

import argparse
import csv
import gzip
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isthmus
from isthmus import data
from isthmus.anatomy import tree
from isthmus.data.catalogue import VARIABLE
from isthmus.errors import IsthmusError
from isthmus.recipes import as_recipe, list_recipes
from isthmus.recipes.sizes import meant

DOCS = Path(__file__).parents[1] / "docs"
RESULTS, PAGE = DOCS / "defaults.json", DOCS / "defaults.md"
LIMIT = 180.0
COMPARED = ("plain", "denoising", "vae", "beta-vae", "topk", "jumprelu", "gated", "iwae")
COMPARED_ON = "small table"
WORSE = 1.05

Rows = Any


def standardised(rows: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1, so that one column does not decide the error."""
    flat = rows.astype(np.float64)
    spread = flat.std(0)
    return ((flat - flat.mean(0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)


def halves(rows: np.ndarray) -> dict[str, np.ndarray]:
    """A collection of the two halves of the last axis."""
    middle = rows.shape[-1] // 2
    return {"left": rows[..., :middle].copy(), "right": rows[..., middle:].copy()}


def quarters(rows: np.ndarray) -> dict[str, np.ndarray]:
    """A collection of two layers: what goes into each and what comes out, by name."""
    parts = np.array_split(rows, 4, axis=-1)
    names = ("0:in", "0:out", "1:in", "1:out")
    return {name: part.copy() for name, part in zip(names, parts, strict=True)}


def texts(name: str) -> list[str]:
    """The text column of a set, or its lines."""
    path = Path(os.environ[VARIABLE]) / "text" / name
    if path.suffix == ".txt":
        return path.read_text(encoding="utf-8").split()
    with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
        return [row["text"] for row in csv.DictReader(handle)]


SETS: dict[str, Callable[[], Rows]] = {
    "table": lambda: standardised(data.load("wine_quality").train),
    "image": lambda: data.load("mnist").train,
    "activations": lambda: data.load("resnet18_cifar10_0").train,
}
"""Wine quality (6,497 rows of 11 columns), MNIST (60,000 images) and pooled features of a ResNet-18
(5,263 rows of 512)."""
OTHERS: dict[str, dict[str, Callable[[], Rows]]] = {
    "collection": {
        "table in two": lambda: halves(standardised(data.load("wine_quality").train)),
        "image in two": lambda: halves(data.load("omniglot_small1_28").train),
        "activations in two": lambda: halves(data.load("resnet18_cifar10_0").train),
    },
    "tokens": {
        "names": lambda: texts("names.txt"),
        "questions": lambda: texts("trec.csv.gz"),
        "requests": lambda: texts("banking77.csv.gz"),
    },
}
LAYERS: dict[str, Callable[[], Rows]] = {
    "table in four": lambda: quarters(standardised(data.load("wine_quality").train)),
    "image in four": lambda: quarters(data.load("mnist").train.reshape(-1, 784)),
    "activations in four": lambda: quarters(data.load("resnet18_cifar10_0").train),
}
"""For a recipe of several layers, each of which is read and written."""
SMALL: dict[str, Callable[[], Rows]] = {
    "small table": lambda: standardised(data.load("breast-cancer").train)
}
IMAGES: dict[str, Callable[[], Rows]] = {
    "image": SETS["image"],
    "clothes": lambda: data.load("fashion_mnist").train,
    "letters": lambda: data.load("omniglot_small1_28").train,
}
"""For recipes that refuse rows without two axes."""


VECTORS: dict[str, Callable[[], Rows]] = {
    "table": SETS["table"],
    "pixels": lambda: data.load("mnist").train.reshape(-1, 784),
    "activations": SETS["activations"],
}
"""For recipes that read nothing else."""


def sets_for(recipe: str) -> dict[str, Callable[[], Rows]]:
    """Three sets that suit a recipe."""
    kinds = as_recipe(recipe).kinds
    if recipe == "cross-layer-transcoder":
        return LAYERS
    for kind, found in OTHERS.items():
        if kinds == (kind,):
            return found
    if kinds == ("vector",):
        return VECTORS
    return IMAGES if recipe in ("depict", "vq-vae") else SETS


def parted(rows: Rows) -> tuple[Rows, Rows]:
    """Nine tenths to fit, and a tenth to measure on."""
    source = data.as_source(rows)
    order = np.random.default_rng(1).permutation(len(source))
    cut = len(source) // 10
    if isinstance(rows, list):
        return [rows[i] for i in np.sort(order[cut:])], [rows[i] for i in np.sort(order[:cut])]
    take = (np.sort(order[cut:]), np.sort(order[:cut]))
    fit, test = (tree.mapped(lambda part, rows=which: part[rows], rows) for which in take)
    return fit, test


def unexplained(model: isthmus.Autoencoder, test: Rows) -> float | None:
    """Squared error of the reconstruction over the variance about the mean, of all parts."""
    if model.decoder is None or model.target is not None or isinstance(test, list):
        return None
    signal = model.signal
    batch = signal.batch(test)
    try:
        with torch.no_grad():
            rebuilt = dict(tree.leaves(model.reconstruct(batch.x)))
    except IsthmusError:
        return None
    off = total = 0.0
    for name, x in tree.leaves(batch.x):
        own = torch.as_tensor(x).double()
        off += float((torch.as_tensor(rebuilt[name]).double() - own).square().sum())
        total += float((own - own.mean(0)).square().sum())
    return off / total


def trained(recipe: str, rows: Rows, test: Rows, **options: Any) -> dict[str, Any]:
    """Fit, and what is to be told of it."""
    began, processor = time.perf_counter(), time.process_time()
    model = isthmus.fit(recipe, rows, progress=False, **options)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    plan = model.config.get("plan") or {}
    steps = max((record["step"] for record in model.history), default=0)
    held = [r["validation/loss"] for r in model.history if "validation/loss" in r]
    return {
        "seconds": round(seconds, 1),
        "processor": round(processor, 1),
        "threads": torch.get_num_threads(),
        "steps": steps,
        "planned": plan.get("steps"),
        "bound": plan.get("bound"),
        "published": plan.get("published"),
        "why": plan.get("why"),
        "held-out loss": min(held) if held else None,
        "unexplained": unexplained(model, test),
        "sizes": {n: model.config["options"][n] for n in meant(as_recipe(recipe))},
        "batch_size": model.config["training"]["batch_size"],
        "lr": model.config["training"]["lr"],
    }


def at_published(recipe: str, rows: Rows, test: Rows, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The page's length, batch, rate and ramps, at the sizes that ``auto`` chose."""
    marks = meant(as_recipe(recipe))
    own = {name: value for name, value in sizes.items() if marks[name].role != "ramp"}
    return trained(recipe, rows, test, length="published", **own)


def table(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """All fits at their defaults."""
    rows = [
        "| recipe | set | processor s | steps | of at most | bound by | held-out loss | "
        "unexplained |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, found in sorted(results.items()):
        recipe, name, length = key.split(" / ")
        if length != "auto":
            continue
        slow = " (over three minutes)" if found["processor"] > LIMIT else ""
        rows.append(
            f"| {recipe} | {name} | {found['processor']}{slow} | {found['steps']:,} | "
            f"{_number(found['planned'])} | {found['bound'] or 'a solver'} | "
            f"{_figure(found['held-out loss'])} | {_figure(found['unexplained'])} |"
        )
    return rows


def ratios(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Defaults beside the published length, by unexplained variance."""
    rows = [
        "| recipe | steps | published steps | unexplained | published | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for recipe in COMPARED:
        ours = results.get(f"{recipe} / {COMPARED_ON} / auto")
        theirs = results.get(f"{recipe} / {COMPARED_ON} / published")
        if ours is None or theirs is None:
            continue
        ratio = ours["unexplained"] / theirs["unexplained"]
        rows.append(
            f"| {recipe} | {ours['steps']:,} | {theirs['steps']:,} | {ours['unexplained']:.4f} | "
            f"{theirs['unexplained']:.4f} | {ratio:.3f}{' (worse)' if ratio > WORSE else ''} |"
        )
    return rows


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _figure(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4g}"


def write(results: Mapping[str, Mapping[str, Any]]) -> None:
    """The results and their page."""
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
    text = [
        "# Defaults",
        "",
        "Every recipe at its defaults on three sets that suit it: what `isthmus fit RECIPE DATA` "
        "does. Written by `python -m benchmarks.defaults`. Seconds are the processor's, all "
        "threads together, so that what else the machine did does not count. Rules and reasons "
        "are in the docstrings of `isthmus.training.plan` and `isthmus.recipes.sizes`.",
        "",
        *table(results),
        "",
        "## Beside the published length",
        "",
        "On breast cancer (384 rows of 30 columns), at the same sizes: the published run has the "
        "page's length, batch and rate. Unexplained variance is that of rows in neither.",
        "",
        *ratios(results),
        "",
    ]
    PAGE.write_text("\n".join(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="recipes, apart by commas")
    parser.add_argument("--sets", default="", help="sets, apart by commas")
    parser.add_argument("--published", action="store_true", help="beside the published length")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    only = [name for name in asked.only.split(",") if name]
    chosen = [name for name in asked.sets.split(",") if name]
    recipes = only or (COMPARED if asked.published else [*list_recipes()])
    sets = {
        recipe: [*(SMALL if asked.published else sets_for(recipe)).items()] for recipe in recipes
    }
    # The first set of every recipe, then the second, so that a run cut short has seen them all.
    for place in range(max(map(len, sets.values()))):
        for recipe in recipes:
            if place >= len(sets[recipe]):
                continue
            name, load = sets[recipe][place]
            if chosen and name not in chosen:
                continue
            for length in ("auto", "published") if asked.published else ("auto",):
                results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
                key = f"{recipe} / {name} / {length}"
                if key in results and not only:
                    continue
                rows, test = parted(load())
                if length == "auto":
                    found = trained(recipe, rows, test)
                else:
                    sizes = results[f"{recipe} / {name} / auto"]["sizes"]
                    found = at_published(recipe, rows, test, sizes)
                results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
                write({**results, key: found})
                print(
                    f"{key}: {found['seconds']} s, processor {found['processor']} s, "
                    f"{found['steps']} of {found['planned']} steps, "
                    f"held-out loss {found['held-out loss']}, unexplained {found['unexplained']}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
