"""Runs a comparison: every method on every seed's split, kept as it goes."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.anatomy import Kind, Reading
from isthmus.comparison import examples, methods
from isthmus.comparison.comparison_results import Comparison, ComparisonSettings, MethodRun
from isthmus.comparison.examples import Examples
from isthmus.comparison.kept_fits import Begun, keep, kept
from isthmus.comparison.method_names import fingerprint, named
from isthmus.comparison.methods import Budget, Fitted, Model
from isthmus.comparison.next_steps import data_of
from isthmus.comparison.options import BATCH_SIZE, BudgetOptions
from isthmus.comparison.prepared import Prepared, Split, split
from isthmus.comparison.prepared import prepare as ready
from isthmus.comparison.tasks import BASELINES, TASKS, Task
from isthmus.comparison.winner import save_winner
from isthmus.errors import IsthmusError, unknown
from isthmus.recipes import Recipe, RecipeLike, as_recipe
from isthmus.recipes.signature import validated
from isthmus.storage import on_this_machine

ReportProgress = Callable[[str, int, int], None]
"""Called as ``report(what ended, fits done, fits in all)``."""


def compare(
    X: Any,
    recipes: Sequence[RecipeLike] | Mapping[str, RecipeLike] | RecipeLike,
    task: str,
    *,
    labels: Any = None,
    seeds: int = 3,
    steps: int | None = None,
    batch_size: int = BATCH_SIZE,
    latents: int | None = None,
    width: int | None = None,
    minutes: float | None = None,
    clusters: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    kind: Kind | None = None,
    axis: int | None = None,
    size: Any = None,
    mode: Any = None,
    prepare: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    report: ReportProgress | None = None,
) -> Comparison:
    """Compare recipes, and the baselines of the task, on data of any kind.

    X, labels
        See :func:`isthmus.comparison.prepared.prepare`.
    recipes
        Recipes: names, ``"package.module:function"``, functions, or autoencoders, of which each
        fit trains a copy from the state in which they were passed; a mapping gives them names of
        your choice.
    task
        A name; :data:`isthmus.comparison.TASKS` has the tasks.
    seeds
        Splits, and initialisations: each seed draws its own test rows, the same for all methods.
    steps, batch_size, latents, width, minutes
        The budget of every recipe. Without ``steps`` each trains until nothing is gained any more
        on a tenth of the training rows, under one ceiling; ``minutes`` are the most that each fit
        takes. ``latents`` numbers make a code (by default a quarter of the elements, 2 to 32);
        sparse dictionaries have ``width`` latents (four times the elements, 64 to 4096), of which
        so many are active.
    clusters
        For the task "cluster": by default as many as there are classes, else the number from 2 to
        10 with the best silhouette of k-means on the data.
    options
        For each recipe, by its name, further options: ``{"vae": {"sigma": 0.3}}``. They win over
        the budget.
    kind, axis, size, mode
        How the data are read, as in :func:`isthmus.fit`.
    prepare
        How a table is prepared, as in :func:`isthmus.fit`; learnt on each split's training rows.
    out
        A folder for ``results.json``, ``results.csv`` and ``index.html``. Fits that are there
        already, of the same data and settings, are not done again. The recipe to take
        (:attr:`Comparison.verdict`; where that is a baseline the recipe that ranks first) is fitted
        once more, on all rows, and saved in ``out/winner``.
    """
    arguments = {
        "labels": labels, "seeds": seeds, "steps": steps, "batch_size": batch_size,
        "latents": latents, "width": width, "minutes": minutes, "clusters": clusters,
        "options": options, "kind": kind, "axis": axis, "size": size, "mode": mode,
        "prepare": prepare,
    }  # fmt: skip
    begun = begin(X, recipes, task, arguments, None if out is None else on_this_machine(out))
    _fill(begun, report)
    return finished(begun)


def begin(
    X: Any,
    recipes: Sequence[RecipeLike] | Mapping[str, RecipeLike] | RecipeLike,
    task: str,
    arguments: Mapping[str, Any],
    folder: Path | None,
) -> Begun:
    """The data prepared, the settings complete, and the fits that are there.

    ``arguments`` are the other arguments of :func:`compare`, by name.
    """
    budgets = validated(
        BudgetOptions, {name: arguments[name] for name in BudgetOptions.model_fields}
    )
    reading = Reading.checked(*(arguments[name] for name in ("kind", "axis", "size", "mode")))
    labels, prepare = arguments["labels"], arguments["prepare"]
    definition = _task(task)
    compared = named(recipes, BASELINES)
    if not compared:
        raise IsthmusError("no recipes to compare: name some, as in --recipes plain,vae")
    options = dict(arguments["options"] or {})
    for name, choices in options.items():
        if name not in compared:
            raise unknown("compared recipe", name, compared)
        options[name] = compared[name].spelt(choices)
        compared[name].parse(choices)
    prepared = ready(X, labels, prepare, reading)
    if definition.labels and prepared.kind not in definition.labels:
        kinds = " or ".join(definition.labels)
        raise IsthmusError(f"the task {task!r} needs labels ({kinds}): pass them with --labels")
    if definition.name == "anomaly":
        prepared = _anomalous(prepared)
    elements = int(np.prod(prepared.shape))
    code_size = budgets.latents or min(32, max(2, elements // 4))
    budget = Budget(
        budgets.steps,
        min(budgets.batch_size, prepared.rows // 2),
        code_size,
        budgets.width or min(4096, max(64, 4 * elements, 2 * code_size)),
        budgets.minutes,
    )
    clusters = budgets.clusters
    if clusters is None:
        clusters = _clusters(prepared) if definition.name == "cluster" else 2
    settings = ComparisonSettings(task, tuple(compared), budgets.seeds, budget, clusters, options)
    state = {name: fingerprint(recipe) for name, recipe in compared.items()}
    runs = [] if folder is None else kept(folder, prepared, settings, state)
    how = {name: arguments[name] for name in ("kind", "axis", "size", "mode")}
    comparison = Comparison(
        prepared, settings, runs, None, compared,
        Examples() if folder is None or not runs else examples.read(folder),
        data_of(X, labels), {k: v for k, v in how.items() if v is not None}, dict(prepare or {}),
    )  # fmt: skip
    return Begun(comparison, folder, state)


def finished(begun: Begun) -> Comparison:
    """The comparison with its winner, once all fits are there."""
    comparison, folder, state = begun.comparison, begun.folder, begun.state
    compared, settings, prepared = comparison.compared, comparison.settings, comparison.prepared
    if not comparison.ranking:
        first = next(iter(comparison.left_out.values()), "nothing was measured")
        raise IsthmusError(f"nothing could be compared: {first}")
    if folder is not None:
        take = comparison.verdict.take
        best = take if take in compared else next(
            (n for n in comparison.ranking if n in compared and n not in BASELINES), None
        )  # fmt: skip
        key = begun.key
        comparison.winner = save_winner(folder, best, compared, prepared, settings, key, state)
    return comparison


def _task(name: str) -> Task:
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def _anomalous(prepared: Prepared) -> Prepared:
    """Two classes: the rarer one is anomalous unless the labels are 0 and 1 already."""
    if len(prepared.classes) != 2:
        raise IsthmusError(
            f"the task 'anomaly' needs two classes and the labels have {len(prepared.classes)}: "
            "pass a column of 0 and 1"
        )
    assert prepared.labels is not None
    names, labels = prepared.classes, prepared.labels
    if names != ("0", "1") and (labels == 1).mean() > 0.5:
        labels = 1 - labels
        names = (names[1], names[0])
    note = f"anomalous are the rows labelled {names[1]!r}, {labels.mean():.1%} of them"
    return replace(
        prepared, labels=labels, kind="classes", classes=names, notes=[*prepared.notes, note]
    )


def _clusters(prepared: Prepared) -> int:
    if prepared.kind == "classes":
        return len(prepared.classes)
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    flat = split(prepared, 0).flat_train
    some = flat[np.random.default_rng(0).permutation(len(flat))[:2000]]
    scores = {}
    for number in range(2, min(11, len(some))):
        assigned = KMeans(number, n_init=3, random_state=0).fit_predict(some)
        if 1 < len(np.unique(assigned)) < len(some):
            scores[number] = float(silhouette_score(some, assigned))
    number = max(scores, key=scores.__getitem__, default=2)
    prepared.notes.append(
        f"{number} clusters: the number from 2 to 10 with the best silhouette of k-means"
    )
    return number


def _fill(begun: Begun, report: ReportProgress | None) -> None:
    """Fit what is missing, and keep each fit at once."""
    fitter = Fitter(begun)
    todo = begun.missing
    for number, (seed, name) in enumerate(todo, 1):
        begun.comparison.runs.append(fitter.run(seed, name))
        if begun.folder is not None:
            keep(begun)
            if seed == examples.SEED:
                examples.write(begun.folder, begun.comparison.examples)
        if report is not None:
            report(f"{name}, seed {seed}", number, len(todo))


class Fitter:
    """Fits and measures one method on one seed's split; what several of a seed share is kept."""

    def __init__(self, begun: Begun) -> None:
        self.comparison = begun.comparison
        self._part: Split | None = None
        self._plain: Model | None = None
        self._seed = -1

    def run(self, seed: int, name: str) -> MethodRun:
        """One fit; its examples are added to the comparison's."""
        comparison = self.comparison
        settings = comparison.settings
        if seed != self._seed:
            self._part, self._plain, self._seed = split(comparison.prepared, seed), None, seed
        part = self._part
        assert part is not None
        start = time.perf_counter()
        try:
            fitted = _fitted(name, part, settings, seed, self._plain, comparison.compared)
            if name == "plain" and isinstance(fitted, Model):
                self._plain = fitted
            seconds = time.perf_counter() - start
            measured = comparison.task.measure(fitted, part, settings.clusters, seed)
            problem = "" if measured is not None else f"it has no answer to {settings.task!r}"
            run = MethodRun(name, seed, measured or {}, fitted.parameters, seconds, problem)
            _exemplify(comparison, run, fitted, part)
        except IsthmusError as failure:
            run = MethodRun(name, seed, {}, 0, time.perf_counter() - start, str(failure))
        return run


def _exemplify(comparison: Comparison, run: MethodRun, fitted: Fitted, part: Split) -> None:
    """Keep what a method makes of a few rows; that it has none to show changes no figure."""
    if run.seed != examples.SEED or run.problem:
        return
    with contextlib.suppress(IsthmusError):
        comparison.examples.add(run.method, fitted, part)


def _fitted(
    name: str,
    part: Split,
    settings: ComparisonSettings,
    seed: int,
    plain: Model | None,
    compared: Mapping[str, Recipe],
) -> Fitted:
    budget = settings.budget
    if name == "pca":
        return methods.PCA(part, budget.latents, seed)
    if name == "data":
        return methods.Raw()
    if name == "isolation-forest":
        return methods.Forest(part, seed)
    if name == "gmm":
        return methods.Mixture(part, methods.MIXTURE_COMPONENTS, seed, None)
    if name == "plain-gmm":
        options = settings.options.get("plain", {})
        model = plain or methods.fit_recipe(as_recipe("plain"), part, budget, seed, options)
        clustering = settings.task == "cluster"
        components = settings.clusters if clustering else methods.MIXTURE_COMPONENTS
        return methods.Mixture(part, components, seed, model)
    first = settings.recipes[0] if name == "untrained" else name
    make = methods.untrained if name == "untrained" else methods.fit_recipe
    return make(compared[first], part, budget, seed, settings.options.get(first, {}))
