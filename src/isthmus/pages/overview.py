"""The overview of a run: what was fitted to what, how it went, and what was measured."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.evaluation.sparsity import DENSE_RATE
from isthmus.pages.kit.blocks import number, short
from isthmus.pages.opened import Run
from isthmus.recipes import Recipe, as_recipe
from isthmus.training import TrainingOptions

POINTS = 1000
"""Points of one curve; of a longer log, as many are taken at even distances."""

ASIDE = ("step", "epoch", "rows_per_second")
"""What the log says about the run's course, which is no measure of the model."""


def about(run: Run) -> dict[str, Any]:
    """Recipe, facts and options, for the page."""
    name = run.config["recipe"]
    recipe = _recipe(name)
    return {
        "recipe": None if recipe is None else _of_recipe(recipe),
        "facts": _facts(run),
        "options": _options(run, recipe),
    }


def _recipe(name: str | None) -> Recipe | None:
    if name is None:
        return None
    try:
        return as_recipe(name)
    except IsthmusError:  # of another version of the library, or not to be imported
        return None


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "family": recipe.family,
        "idea": recipe.idea,
        "paper": recipe.paper or "no paper",
        "formula": recipe.formula,
    }


def _facts(run: Run) -> list[list[str]]:
    config, signal = run.config, run.config["signal"]
    record = config.get("data") or {}
    shape = "×".join(map(str, signal["shape"]))
    facts = [["recipe", str(config["recipe"] or "an autoencoder of the user's own parts")]]
    facts.append(["data", run.spec or "passed as an array"])
    facts.append(["one row", f"{signal['kind']} {shape}".strip()])
    if "rows" in record:
        facts.append(["rows", f"{record['rows']:,}"])
    if run.model is not None:
        count = sum(parameter.numel() for parameter in run.model.parameters())
        facts.append(["parameters", f"{count:,}"])
    progress = config.get("progress") or {}
    if "step" in progress:
        of = "" if progress.get("finished") else f" of {progress.get('total', 0):,}, not finished"
        facts.append(["steps", f"{progress['step']:,}{of}"])
    if "seed" in config.get("training", {}):
        facts.append(["seed", str(config["training"]["seed"])])
    rate = [r["rows_per_second"] for r in run.records if "rows_per_second" in r]
    if rate:
        facts.append(["rows a second", f"{float(np.median(rate)):,.0f} (median of the log)"])
    versions = config.get("versions") or {}
    facts += [["note", note] for note in config.get("notes", ())]
    facts.append(["fitted with", ", ".join(f"{k} {v}" for k, v in versions.items())])
    return facts


def _options(run: Run, recipe: Recipe | None) -> list[dict[str, Any]]:
    """Every option with its value, its default, and what it means, where that is known."""
    models = [] if recipe is None else [(recipe.model_options, run.config["options"])]
    models.append((TrainingOptions, run.config.get("training") or {}))
    if recipe is None:
        items = run.config["options"].items()
        return [{"name": k, "value": _said(v), "default": "", "about": ""} for k, v in items]
    rows = []
    for model, values in models:
        for name, info in model.model_fields.items():
            if name not in values:
                continue
            fallback = None if info.is_required() else info.get_default(call_default_factory=True)
            default = recipe.defaults.get(name, fallback)
            row = {"name": name, "value": _said(values[name]), "default": _said(default)}
            rows.append({**row, "about": info.description or ""})
    return rows


def _said(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_said, value)) or "()"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_said(v)}" for k, v in value.items()) or "none"
    return str(value)


# --- measures --------------------------------------------------------------------------------


def measures(run: Run, results: Mapping[str, Result] | None) -> dict[str, Any]:
    """The measures with their intervals, or else the last figures of the log, said so."""
    if results is not None:
        return {"source": f"measured on {run.about_rows}", "rows": shown(results.values())}
    figures: dict[str, float] = {}
    for record in run.records:
        figures.update({k: v for k, v in record.items() if k not in ASIDE and _is_number(v)})
    last = run.records[-1].get("step") if run.records else None
    rows = [{"name": name, "value": number(value), "n": None} for name, value in figures.items()]
    where = (
        "the log of the run holds no figures" if not rows else f"last values of the log{at(last)}"
    )
    return {"source": f"{where} (of training batches, without intervals)", "rows": rows}


def at(step: Any) -> str:
    """``, step N``, where the step is known."""
    return "" if step is None else f", step {step:,}"


def shown(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Results as rows of the page's table."""
    return [
        {
            "name": result.name,
            "value": number(result.value),
            "low": None if result.interval is None else number(result.interval[0]),
            "high": None if result.interval is None else number(result.interval[1]),
            "arrow": result.arrow,
            "unit": result.unit,
            "n": result.n,
            "estimator": result.estimator,
            "note": result.note,
        }
        for result in results
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# --- curves ----------------------------------------------------------------------------------


def curves(run: Run) -> list[dict[str, Any]]:
    """One chart for each figure of the log; a validation figure is drawn with its own."""
    series: dict[str, tuple[list[float], list[float]]] = {}
    for record in run.records:
        if not _is_number(record.get("step")):
            continue
        for name, value in record.items():
            if name not in ASIDE and _is_number(value):
                x, y = series.setdefault(name, ([], []))
                x.append(float(record["step"]))
                y.append(float(value))
    charts: dict[str, list[dict[str, Any]]] = {}
    for name, (x, y) in series.items():
        if len(x) < 2:
            continue
        title = name.removeprefix("validation/")
        every = -(-len(x) // POINTS)
        label = "validation" if title != name else "training"
        line = {"name": label, "x": short(x[::every], 8), "y": short(y[::every], 6)}
        charts.setdefault(title, []).append(line)
    # The loss first, and last what was only set.
    order = sorted(charts, key=lambda title: (title != "loss", title == "lr"))
    return [{"title": title, "lines": charts[title]} for title in order]


# --- how often latents fire ------------------------------------------------------------------


def firing(rates: np.ndarray, rows: int, of: str) -> dict[str, Any]:
    """Histogram of firing rates on a log scale, with the dead and the dense latents counted.

    ``rates`` ``(latents,)`` are shares of ``rows`` rows; ``of`` says of what.
    """
    alive = rates[rates > 0]
    lowest = math.floor(math.log10(min(1 / max(rows, 1), alive.min() if len(alive) else 1.0)))
    edges = np.linspace(min(lowest, -1), 0, 4 * max(1, -min(lowest, -1)) + 1)
    counts, _ = np.histogram(np.log10(alive).clip(edges[0], 0), edges)
    return {
        "edges": short(edges),
        "counts": counts.tolist(),
        "dead": int((rates == 0).sum()),
        "dense": int((rates > DENSE_RATE).sum()),
        "dense_rate": DENSE_RATE,
        "latents": len(rates),
        "of": of,
    }
