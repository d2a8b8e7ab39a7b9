"""The demonstration behind ``make demo``: three recipes on the bundled digits, and a dictionary on
the activations of the language model that ships in the package."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import isthmus
from isthmus import data
from isthmus.interpretation import source_features
from isthmus.interpretation.labels import label
from isthmus.pages import report
from isthmus.pictures import portrait

RUNS: dict[str, dict[str, Any]] = {
    "plain": {"latent_dim": 16, "epochs": 60, "network": "mlp", "hidden": (128,)},
    "beta-vae": {
        "latent_dim": 10, "capacity": 15.0, "gamma": 20.0, "likelihood": "gaussian",
        "sigma": 0.15, "steps": 2000, "batch_size": 64, "network": "mlp", "hidden": (128,),
    },
    "topk": {"latent_dim": 256, "k": 8, "steps": 1000, "batch_size": 256, "lr": 2e-3},
}  # fmt: skip
"""Settings for 1,347 small images; everything else is the recipe's default."""

LANGUAGE: dict[str, Any] = {"latent_dim": 1024, "k": 16, "steps": 300, "batch_size": 1024}
ACTIVATIONS = "lm:resident@layers.1?tokens=100000"
"""The residual stream after the second block, on text that the model was not trained on where
ISTHMUS_DATA has it, else on text that it wrote itself."""

LABELLED = 200
"""Latents that get a label in words."""

MEASURES = (
    "fvu", "error_per_element", "importance_bound", "kl", "active_units", "l0", "dead_share",
    "latent_rank",
)  # fmt: skip


def main(folder: Path = Path("demo")) -> None:
    """Fit, evaluate on held-out rows, print a table, write pictures and a page to browse."""
    console, began = Console(highlight=False), time.monotonic()
    digits = data.load("digits")
    assert digits.test is not None
    table = Table(title="held-out digits, with 95 % intervals", title_justify="left")
    table.add_column("measure")
    results = {}
    for recipe, options in RUNS.items():
        run = folder / recipe
        model = isthmus.fit(
            recipe, digits, out=run, overwrite=True, progress=True, seed=0, **options
        )
        results[recipe] = isthmus.evaluate(model, digits)
        settings = ", ".join(f"{k}={v}" for k, v in options.items())
        glance = portrait(model, digits.test, title=f"{recipe}: {settings}")
        glance.save(folder / f"{recipe}.png")
        table.add_column(recipe, justify="right")
    for measure in MEASURES:
        cells = []
        for recipe in RUNS:
            result = results[recipe].get(measure)
            cells.append("" if result is None else _cell(result.value, result.interval))
        table.add_row(measure, *cells)
    console.print(table)
    for recipe in RUNS:
        console.print(f"{folder / recipe}.png: inputs, reconstructions, strongest latents")
    page = language(folder / "language")
    console.print(f"{page}: what the latents of a dictionary on a language model fire on")
    console.print(f"runs are in {folder}/; try: isthmus evaluate {folder}/topk")
    console.print(f"{time.monotonic() - began:.0f} s")


def language(run: Path) -> Path:
    """Fit a dictionary to a language model's activations, name some latents, write the page."""
    source = data.as_source(ACTIVATIONS)
    model = isthmus.fit("topk", source, out=run, overwrite=True, progress=True, seed=0, **LANGUAGE)
    source_features(source, model, run, overwrite=True)
    label(run, latents=range(LABELLED))
    return report(run)


def _cell(value: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return f"{value:.4g}"
    return f"{value:.4g} ± {(interval[1] - interval[0]) / 2:.2g}"


if __name__ == "__main__":
    main()
