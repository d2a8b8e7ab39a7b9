"""The recipe that a comparison ranks first, fitted to all rows and saved as a run."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus import runs
from isthmus.comparison.methods import budgeted
from isthmus.comparison.prepared import Prepared
from isthmus.errors import IsthmusError
from isthmus.recipes import Recipe
from isthmus.runs import write_atomically

if TYPE_CHECKING:
    from isthmus.comparison.comparison_results import ComparisonSettings

WINNER = "winner"
_ABOUT = "winner.json"


def save_winner(
    folder: Path,
    name: str | None,
    compared: Mapping[str, Recipe],
    prepared: Prepared,
    settings: "ComparisonSettings",
    key: str,
    state: Mapping[str, str],
) -> str | None:
    """Fit a recipe with the comparison's budget and seed 0 to all rows, in ``folder/winner``.

    A table is prepared by all rows, and by the recipe's own scaling. What is there already of the
    same data, recipe and settings stays. Returns the name, or None where no recipe was measured or
    the recipe cannot be fitted to the data as they are.
    """
    if name is None:
        return None
    recipe = compared[name]
    about = {"name": name, "key": key, "state": state.get(name, "")}
    if _there(folder) == about:
        return name
    choices = settings.options.get(name, {})
    options = {**budgeted(recipe, settings.budget), "seed": 0, **choices}
    prepare_options = asdict(prepared.options) if prepared.x is None else None
    try:
        runs.fit(
            recipe.model or recipe, prepared.fits, out=folder / WINNER, overwrite=True,
            progress=False, prepare=prepare_options, **options,
        )  # fmt: skip
    except IsthmusError as problem:
        prepared.notes.append(f"{name} could not be fitted to all rows: {problem}")
        return None
    write_atomically(folder / _ABOUT, json.dumps(about).encode())
    return name


def _there(folder: Path) -> object:
    try:
        record = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if (folder / WINNER / "config.json").exists() else None
