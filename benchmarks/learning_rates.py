"""The learning rates that pages without a published one start from, on three sets and two seeds.

    python -m benchmarks.learning_rates [--only plain,vae] [--all] [--confirm]

A page that carries its paper's rate keeps it; dictionaries have a benchmark of their own
(``benchmarks.sparse``). For the others (:data:`RECIPES`) every rate of :data:`GRID` trains for
a few hundred steps at the page's batch on each of three shared sets, twice. What counts is the
recipe's own loss on a tenth of the rows that are held out, the least of ten looks, the same rows
for all rates.

The rule, stated before the run. A rate takes the place of the page's where

1. on each of the three sets and with each seed its loss is lower, and
2. on each set, over the seeds, it is lower by more than :data:`LEAST` of what the page's rate
   gained over the loss before the first step, and
3. it is no end of the grid, since nothing is known beyond, and
4. in fits at their default length with a seed of their own (``--confirm``), since short fits
   favour high rates, its loss is no higher on any of the three sets.

Of several, that with the largest least gain over the sets is tried. Where none is, the page's rate
stays. Nothing is averaged over sets: a rate that suits images and spoils tables is no default. So
one set is enough to speak against a rate: sets are taken in the order of their cost, a rate that
failed on one is not trained on the next, and where none is left the page's is not either
(``--all`` trains them nevertheless).

Results are kept in ``docs/learning_rates.json``, from which ``docs/learning_rates.md`` is written;
what is there already is not done again. One thread; about ten minutes of
one core. Needs the
shared sets (ISTHMUS_DATA).
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isthmus
from benchmarks.defaults import standardised, texts
from isthmus import data
from isthmus.errors import IsthmusError
from isthmus.recipes import as_recipe
from isthmus.training.options import TrainingOptions

DOCS = Path(__file__).parents[1] / "docs"
RESULTS, PAGE = DOCS / "learning_rates.json", DOCS / "learning_rates.md"

RECIPES = ("plain", "denoising", "vae", "pae", "sign", "text-vae")
"""Those whose papers' rates are not their pages': none was published, or for another optimiser."""
GRID = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the page's rate."""
SEEDS = (0, 1)
CONFIRMING = 2
STEPS = {"text-vae": 120}
USUAL_STEPS = 300
LOOKS = 10
HELD_OUT = 0.1
LEAST = 0.02
IMAGES, TEXTS, LETTERS = 4000, 3000, 24
"""Rows that are read of images and of texts, and letters of a text."""

Results = dict[str, dict[str, Any]]


def quartered(images: np.ndarray) -> np.ndarray:
    """Bytes ``(n, 28, 28)`` as means of 2 x 2 pixels, float32 in [0, 1], ``(n, 1, 14, 14)``."""
    some = images[:IMAGES].reshape(-1, 14, 2, 14, 2).astype(np.float32) / 255.0
    return some.mean((2, 4))[:, None]


def cut(name: str) -> list[str]:
    """The beginnings of some texts."""
    found = texts(name)
    order = np.random.default_rng(0).permutation(len(found))[:TEXTS]
    return [found[i][:LETTERS] for i in np.sort(order)]


SETS: dict[str, Callable[[], Any]] = {
    "table": lambda: standardised(data.load("wine_quality").train),
    "activations": lambda: data.load("resnet18_cifar10_0").train,
    "image": lambda: quartered(data.load("fashion_mnist").train),
}
TEXT_SETS: dict[str, Callable[[], Any]] = {
    "names": lambda: cut("names.txt"),
    "questions": lambda: cut("trec.csv.gz"),
    "requests": lambda: cut("banking77.csv.gz"),
}


def sets_for(recipe: str) -> dict[str, Callable[[], Any]]:
    """Three sets that suit a recipe."""
    return TEXT_SETS if recipe == "text-vae" else SETS


def page_rate(recipe: str) -> float:
    """The rate on a recipe's page."""
    rate: float = TrainingOptions(**as_recipe(recipe).defaults).lr
    return rate


def held_out_loss(recipe: str, rows: Any, **options: Any) -> float | None:
    """The least held-out loss of a fit; None where it diverged."""
    try:
        model = isthmus.fit(
            recipe, rows, progress=False, validation=HELD_OUT, data_seed=0, device="cpu", **options
        )
    except IsthmusError as problem:
        if "not finite" in str(problem) or "NaN" in str(problem):
            return None
        raise
    seen = [r["validation/loss"] for r in model.history if "validation/loss" in r]
    least = min(seen)
    return float(least) if math.isfinite(least) else None


def fits(recipe: str, name: str, rates: Sequence[float] = GRID) -> dict[str, dict[str, Any]]:
    """The options of the short fits on one set, by key: at these rates and at none."""
    batch = TrainingOptions(**as_recipe(recipe).defaults).batch_size
    steps = STEPS.get(recipe, USUAL_STEPS)
    short = {"steps": steps, "validate_every": steps // LOOKS, "batch_size": batch}
    found = {}
    for seed in SEEDS:
        # A step too small to change anything: the loss before the first.
        start = {"steps": 1, "validate_every": 1, "batch_size": batch, "lr": 1e-12}
        found[f"{recipe} / {name} / start / {seed}"] = {**start, "seed": seed}
        for times in rates:
            found[f"{recipe} / {name} / {times:g} / {seed}"] = {
                **short, "lr": times * page_rate(recipe), "seed": seed,
            }  # fmt: skip
    return found


def gains(results: Mapping[str, Any], recipe: str, times: float) -> dict[str, list[float]]:
    """What a rate gains over the page's, as a share of what the page's gained, by set and seed.

    Only sets of which all fits are there; minus infinity where the rate diverged.
    """
    found: dict[str, list[float]] = {}
    for name in sets_for(recipe):
        arms = ("start", "1", f"{times:g}")
        keys = [[f"{recipe} / {name} / {arm} / {seed}" for arm in arms] for seed in SEEDS]
        if all(key in results for of_seed in keys for key in of_seed):
            found[name] = [_gain(*(results[key]["loss"] for key in of_seed)) for of_seed in keys]
    return found


def _gain(start: float, page: float | None, own: float | None) -> float:
    if own is None:
        return -math.inf
    return math.inf if page is None else (page - own) / abs(start - page)


def failed(results: Mapping[str, Any], recipe: str, times: float) -> bool:
    """Whether a set speaks against a rate (points 1 to 3 of the rule), of those that are done."""
    found = gains(results, recipe, times).values()
    return times not in GRID[1:-1] or any(
        min(own) <= 0.0 or float(np.mean(own)) <= LEAST for own in found
    )


def left(results: Mapping[str, Any], recipe: str) -> list[float]:
    """The rates, in those of the page, that no set speaks against."""
    return [times for times in GRID if times != 1.0 and not failed(results, recipe, times)]


def candidate(results: Mapping[str, Any], recipe: str) -> float | None:
    """The rate, in those of the page, that all short fits speak for."""
    least = {}
    for times in left(results, recipe):
        found = gains(results, recipe, times)
        if len(found) == len(sets_for(recipe)):
            least[times] = min(float(np.mean(own)) for own in found.values())
    return max(least, key=least.__getitem__) if least else None


def confirmed(results: Mapping[str, Any], recipe: str, times: float) -> bool | None:
    """Whether fits at their default length agree (point 4); None where one is missing."""
    for name in sets_for(recipe):
        keys = [f"{recipe} / {name} / {arm} / default" for arm in ("1", f"{times:g}")]
        if any(key not in results for key in keys):
            return None
        page, own = (results[key]["loss"] for key in keys)
        if own is None or (page is not None and own > page):
            return False
    return True


def verdict(results: Mapping[str, Any], recipe: str) -> str:
    """What the rule says of a recipe, in words."""
    rate = page_rate(recipe)
    if any(not gains(results, recipe, times) for times in GRID):
        return "not trained yet"
    if not left(results, recipe):
        return f"{rate:g} stays: no other rate is better on all sets"
    times = candidate(results, recipe)
    if times is None:
        rates = " and ".join(f"{one * rate:g}" for one in left(results, recipe))
        return f"{rates} may be better: not all fits are done"
    agreed = confirmed(results, recipe, times)
    if agreed is None:
        return f"{times * rate:g} is better in short fits, and not confirmed yet"
    if not agreed:
        return f"{rate:g} stays: {times * rate:g} is better in short fits, not at full length"
    return f"{times * rate:g} in place of {rate:g}"


def page(results: Mapping[str, Any]) -> str:
    """The Markdown page."""
    assert __doc__ is not None
    rule = __doc__.split("The rule, stated before the run. ")[1].split("Results are kept")[0]
    rows = []
    for recipe in RECIPES:
        for name in sets_for(recipe):
            cells = []
            for times in GRID:
                losses = [
                    results.get(f"{recipe} / {name} / {times:g} / {seed}", {"loss": math.nan})
                    for seed in SEEDS
                ]
                known = [one["loss"] for one in losses]
                cells.append(
                    "diverged" if None in known
                    else "" if any(math.isnan(one) for one in known)
                    else f"{np.mean(known):.5g}"
                )  # fmt: skip
            rows.append(f"| {recipe} | {name} | {' | '.join(cells)} |")
    return "\n".join([
        "# Learning rates",
        "",
        "Which rate a page starts from where its paper has none for its optimiser. Written by "
        "`python -m benchmarks.learning_rates`; pages that carry a published rate keep it, and "
        "sparse dictionaries are in [Benchmarks](benchmarks.md).",
        "",
        f"Held-out loss, the least of {LOOKS} looks in {USUAL_STEPS} steps ({STEPS['text-vae']} of "
        f"`text-vae`), mean of {len(SEEDS)} seeds, by rate in units of the page's.",
        "",
        "| recipe | set | " + " | ".join(f"x {times:g}" for times in GRID) + " |",
        "| --- | --- |" + " --- |" * len(GRID),
        *rows,
        "",
        "## The rule",
        "",
        rule.replace(":data:`LEAST`", f"{LEAST:.0%}").replace("``", "`").rstrip(),
        "",
        "## What it says",
        "",
        "| recipe | page | verdict |",
        "| --- | --- | --- |",
        *[f"| {one} | {page_rate(one):g} | {verdict(results, one)} |" for one in RECIPES],
        "",
    ])  # fmt: skip


def _full(recipe: str, name: str, times: float) -> dict[str, dict[str, Any]]:
    """The options of both fits at their default length, by key."""
    rate = page_rate(recipe)
    return {
        f"{recipe} / {name} / {of:g} / default": {"lr": of * rate, "seed": CONFIRMING}
        for of in (1.0, times)
    }


def _done(key: str, results: Results, rows: Any, options: Mapping[str, Any]) -> None:
    """One fit, kept at once."""
    began = time.process_time()
    loss = held_out_loss(key.split(" / ")[0], rows, **options)
    seconds = round(time.process_time() - began, 1)
    results[key] = {"loss": loss, "lr": options.get("lr"), "seconds": seconds}
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
    PAGE.write_text(page(results))
    print(f"{key}: {loss}, {seconds} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="recipes, apart by commas")
    parser.add_argument("--all", action="store_true", help="rates that one set spoke against, too")
    parser.add_argument("--confirm", action="store_true", help="default lengths of candidates")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    only = [name for name in asked.only.split(",") if name]
    results: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for recipe in only or RECIPES:
        times = candidate(results, recipe) if asked.confirm else None
        for place, (name, load) in enumerate(sets_for(recipe).items()):
            if asked.confirm:
                wanted = {} if times is None else _full(recipe, name, times)
            elif place == 0 or asked.all:
                wanted = fits(recipe, name)
            else:
                others = left(results, recipe)
                wanted = fits(recipe, name, (1.0, *others)) if others else {}
            missing = {key: options for key, options in wanted.items() if key not in results}
            rows = load() if missing else None
            for key, options in missing.items():
                _done(key, results, rows, options)
    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
