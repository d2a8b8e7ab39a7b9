"""The fits of a comparison, kept in its folder as they end."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from isthmus.comparison.comparison_results import (
    Comparison,
    ComparisonSettings,
    MethodRun,
    run_from_dict,
    run_to_dict,
)
from isthmus.comparison.prepared import Prepared
from isthmus.comparison.tasks import TASKS
from isthmus.errors import IsthmusError
from isthmus.runs import write_atomically

RESULTS = "results.json"


@dataclass
class Begun:
    """A comparison with the fits that were there, and where it is kept.

    ``state`` has a fingerprint of each recipe.
    """

    comparison: Comparison
    folder: Path | None
    state: Mapping[str, str]

    @property
    def missing(self) -> list[tuple[int, str]]:
        """Seed and method of the fits that are not there, in the order in which they are done."""
        settings = self.comparison.settings
        names = [*settings.recipes, *self.comparison.task.baselines]
        pairs = {(run.seed, run.method) for run in self.comparison.runs}
        every = [(seed, name) for seed in range(settings.seeds) for name in names]
        return [pair for pair in every if pair not in pairs]

    @property
    def key(self) -> str:
        """A hash of the data and of the settings."""
        return _key(self.comparison.prepared, self.comparison.settings)


def _key(prepared: Prepared, settings: ComparisonSettings) -> str:
    """A hash of the data and of the settings but for the recipes and the number of seeds."""
    plain = asdict(settings)
    first = plain.pop("recipes")[0]
    del plain["seeds"]
    digest = hashlib.sha256(json.dumps([plain, first], sort_keys=True, default=str).encode())
    digest.update(prepared.digest())
    return digest.hexdigest()[:20]


def keep(begun: Begun) -> None:
    """Write down the fits that are there."""
    comparison, folder = begun.comparison, begun.folder
    assert folder is not None
    plain = {
        "key": begun.key,
        "data": comparison.prepared.name,
        "notes": comparison.prepared.notes,
        "state": dict(begun.state),
        "settings": asdict(comparison.settings),
        "runs": [run_to_dict(run) for run in comparison.runs],
    }
    text = json.dumps(plain, indent=1, default=str, allow_nan=False) + "\n"
    write_atomically(folder / RESULTS, text.encode())


def kept(
    folder: Path, prepared: Prepared, settings: ComparisonSettings, state: Mapping[str, str]
) -> list[MethodRun]:
    """Fits that are there, but for those of recipes that are not what they were."""
    path = folder / RESULTS
    if not path.exists():
        return []
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        runs = [run_from_dict(run) for run in plain["runs"]]
        key, before = plain["key"], plain.get("state", {})
    except (OSError, ValueError, KeyError, TypeError):
        raise IsthmusError(f"{path} holds no readable results: choose another folder") from None
    if key != _key(prepared, settings):
        raise IsthmusError(
            f"{folder} holds a comparison of other data or settings: choose another folder"
        )
    same = {name for name in settings.recipes if before.get(name, "") == state[name]}
    names = {*same, *TASKS[settings.task].baselines}
    if settings.recipes[0] not in same:
        names.discard("untrained")
    return [run for run in runs if run.method in names and run.seed < settings.seeds]
