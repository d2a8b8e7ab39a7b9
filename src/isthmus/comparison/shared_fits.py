"""Fits of a comparison as tasks that several processes share, each of which is done once."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from isthmus.activations.spec import absolute
from isthmus.comparison import examples
from isthmus.comparison.comparison_page import write_pages
from isthmus.comparison.comparison_results import run_from_dict, run_to_dict
from isthmus.comparison.examples import Examples
from isthmus.comparison.kept_fits import keep
from isthmus.comparison.runner import Fitter, begin, finished
from isthmus.errors import IsthmusError
from isthmus.workers import Assignment, Results, assigned

KIND = "compare"
PAGE = "page"
"""The last task: everything that one process writes."""
Pair = tuple[int, str]
"""Seed and method."""


def prepare(
    folder: Path,
    data: Any,
    recipes: Sequence[Any],
    task: str,
    asked: Mapping[str, Any],
    processes: int = 1,
) -> None:
    """Write down in a folder what is to be compared, for ``isthmus work``.

    ``asked`` are the other arguments of :func:`isthmus.comparison.compare` by name. Data, labels
    and recipes have to be names or files, which other processes open themselves. Each process has
    the share of this one's threads that ``processes`` leave it, so that figures are those of one
    process of so many threads.
    """
    values = {"the data": data, "the labels": asked["labels"]}
    values |= {f"recipe {number}": recipe for number, recipe in enumerate(recipes, 1)}
    for what, value in values.items():
        if value is not None and not isinstance(value, (str, Path)):
            raise IsthmusError(
                f"{what} are of type {type(value).__name__}, and other processes read them by "
                "name: save them to a file, or compare with one process"
            )
    labels = asked["labels"]
    settings = {
        "data": absolute(str(data)), "recipes": list(map(str, recipes)), "task": task,
        **asked, "labels": None if labels is None else absolute(str(labels)),
    }  # fmt: skip
    begun = begin(settings["data"], settings["recipes"], task, _arguments(settings), folder)
    threads = max(1, torch.get_num_threads() // processes)
    if assigned(folder, Assignment(KIND, settings, threads, begun.key)):
        stored = Results(folder)
        for name in stored.names():
            if name == PAGE or "problem" in (stored.get(name) or {}):
                stored.drop(name)


class SharedFits:
    """What is still to be fitted of a comparison, as far as the results in a folder tell."""

    def __init__(self, folder: Path, work: Assignment) -> None:
        settings = work.settings
        self.results = Results(folder)
        self.begun = begin(
            settings["data"], settings["recipes"], settings["task"], _arguments(settings), folder
        )
        if self.begun.key != work.key:
            raise IsthmusError(
                f"{settings['data']} is not here what it was where the work in {folder} was "
                "prepared: bring the same data, or prepare it again"
            )
        self.fitter = Fitter(self.begun)
        self.todo: dict[str, Pair] = {task_of(*pair): pair for pair in self.begun.missing}
        self.problems: dict[str, str] = {}

    def ready(self) -> list[str]:
        """Fits without a result; once all have one, the page."""
        fits = [task for task in self.todo if not self.has(task)]
        return fits or ([] if self.has(PAGE) else [PAGE])

    @property
    def ended(self) -> bool:
        """Whether the page is there."""
        return self.has(PAGE)

    @property
    def progress(self) -> tuple[int, int]:
        """Fits with a result, and all of them."""
        return sum(self.has(task) for task in self.todo), len(self.todo)

    def has(self, task: str) -> bool:
        """Whether there is a result."""
        return self.results.get(task) is not None

    def run(self, task: str) -> dict[str, Any]:
        """One fit with its examples, or what is written at the end."""
        if task == PAGE:
            return self._write()
        seed, name = self.todo[task]
        comparison = self.begun.comparison
        before, comparison.examples = comparison.examples, Examples()
        try:
            run = self.fitter.run(seed, name)
            examples.write(self.results.folder / task, comparison.examples)
        finally:
            comparison.examples = before
        return {"run": run_to_dict(run)}

    def _write(self) -> dict[str, Any]:
        comparison, folder = self.begun.comparison, self.begun.folder
        assert folder is not None
        runs, joined = list(comparison.runs), replace(comparison.examples)
        for task in self.todo:
            result = self.results.get(task) or {}
            if "problem" in result:
                raise IsthmusError(result["problem"])
            runs.append(run_from_dict(result["run"]))
            joined.join(examples.read(self.results.folder / task))
        comparison.runs, comparison.examples = runs, joined
        keep(self.begun)
        examples.write(folder, joined)
        write_pages(finished(self.begun), folder)
        return {"fits": len(runs)}


def task_of(seed: int, method: str) -> str:
    """What the file of a fit is called."""
    plain = re.sub(r"[^\w.+-]", "-", method)
    if plain != method:
        plain += "-" + hashlib.sha256(method.encode()).hexdigest()[:8]
    return f"seed-{seed}_{plain}"


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k not in ("data", "recipes", "task")}
