"""How to go on from a comparison: commands that can be copied."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus import data, tables
from isthmus.comparison.methods import budgeted
from isthmus.comparison.winner import WINNER
from isthmus.data.files import located
from isthmus.recipes import Recipe

if TYPE_CHECKING:
    from isthmus.comparison.comparison_results import Comparison

Step = tuple[str, str]
"""What a command does, and the command."""


def steps(found: "Comparison", folder: Path | None) -> list[Step]:
    """What to do with the recipe that was saved, and how to fit it anew."""
    if found.winner is None:
        return []
    commands: list[Step] = []
    spec = found.data
    if folder is not None:
        run = shlex.quote(str(folder / WINNER))
        rows = "new.csv" if spec is None or found.task.name == "anomaly" else shlex.quote(spec)
        commands += [(about, f"isthmus {words.format(run=run, rows=rows)}")
                 for about, words in _AFTER[found.task.name]]  # fmt: skip
    command = fit_command(found, found.winner)
    if command is not None:
        part = found.data is not None and data.is_name(found.data)
        more = ", to the training part of the set" if part else ""
        commands.append((f"fit {found.winner} as it was fitted here{more}", command))
    return commands


_AFTER: dict[str, list[Step]] = {
    "reconstruct": [("see what it has learnt", "report {run} {rows}")],
    "cluster": [("write the codes", "encode {run} {rows} -o codes.csv")],
    "anomaly": [("score new rows, and flag anomalies", "score {run} {rows} -o scores.csv")],
    "probe": [("write the codes", "encode {run} {rows} -o codes.csv")],
    "density": [("measure it, with intervals", "evaluate {run} {rows}")],
    "compress": [("write the codes", "encode {run} {rows} -o codes.npz")],
}


def fit_command(found: "Comparison", name: str) -> str | None:
    """The command, or the Python, that fits a recipe as the comparison did; None without a name.

    Data that were no name or file are ``X``, which only Python has.
    """
    recipe = found.compared.get(name)
    if recipe is None or recipe.model is not None:
        return None
    called = recipe.name if recipe.builtin else recipe.source
    if not called:
        return None
    options = fit_options(found, name, recipe)
    if found.data is None:
        python = "".join(f", {key}={value!r}" for key, value in options.items())
        python += f", prepare={dict(found.prepare)!r}" if found.prepare else ""
        return f'isthmus.fit("{called}", X{python}, out="my-run")'
    words = [f"{key}={said(value)}" for key, value in options.items()]
    words += [f"prepare.{key}={said(value)}" for key, value in found.prepare.items()]
    parts = ["isthmus", "fit", called, found.data, *words, "-o", "my-run"]
    return " ".join(shlex.quote(part) for part in parts)


def fit_options(found: "Comparison", name: str, recipe: Recipe) -> dict[str, Any]:
    """The options of the fit to all rows: the budget in the recipe's own, and those given."""
    options = found.settings.options.get(name, {})
    budget = {k: v for k, v in budgeted(recipe, found.settings.budget).items() if v is not None}
    return {**found.reading, **budget, "seed": 0, **options}


def said(value: Any) -> str:
    """A value as an option on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(said, value)) + ("," if len(value) == 1 else "") if value else "()"
    return str(value)


def data_of(X: Any, labels: Any) -> str | None:
    """The data as a command names them, without a column of labels; None where they were arrays."""
    if not isinstance(X, (str, Path)):
        spec = getattr(X, "spec", None)
        return None if spec is None else str(spec)
    text = str(X)
    place = None if data.is_name(text) else located(text)
    if place is None or not isinstance(labels, str) or place[1] or not tables.is_table(place[0]):
        return text
    if labels not in tables.header(place[0]):
        return text
    return f'{text}:-"{labels}"' if "," in labels else f"{text}:-{labels}"
