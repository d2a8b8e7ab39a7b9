"""Runs a comparison: every method on every seed's split, kept as it goes."""

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.anatomy import Kind, Reading
from isthmus.comparison import examples, methods
from isthmus.comparison.examples import Examples
from isthmus.comparison.method_names import fingerprint, named
from isthmus.comparison.methods import Budget, Fitted, Model
from isthmus.comparison.next_steps import data_of
from isthmus.comparison.options import BudgetOptions
from isthmus.comparison.prepared import TEST_SHARE, Prepared, Split, split
from isthmus.comparison.prepared import prepare as ready
from isthmus.comparison.recommendation import Verdict, verdict
from isthmus.comparison.tasks import BASELINES, TASKS, Task
from isthmus.comparison.winner import save_winner
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.intervals import Estimate, over_seeds, paired
from isthmus.recipes import Recipe, RecipeLike, as_recipe
from isthmus.recipes.signature import validated
from isthmus.runs import write_atomically

RESULTS = "results.json"
ReportProgress = Callable[[str, int, int], None]
"""Called as ``report(what ended, fits done, fits in all)``."""


@dataclass(frozen=True)
class ComparisonSettings:
    """Everything that the figures depend on, beside the data."""

    task: str
    recipes: tuple[str, ...]
    seeds: int
    budget: Budget
    clusters: int
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodRun:
    """One method on one seed's split; ``problem`` says why there are no measures."""

    method: str
    seed: int
    measures: dict[str, float]
    parameters: int
    seconds: float
    problem: str = ""


@dataclass
class Comparison:
    """What was found, for every method and seed.

    ``winner`` is the recipe that was saved. ``compared`` are the recipes by name, ``examples`` what
    methods make of a few rows. ``data``, ``reading`` and ``prepare`` are what was asked for, as a
    command says it; ``data`` is None where they were arrays.
    """

    prepared: Prepared
    settings: ComparisonSettings
    runs: list[MethodRun]
    winner: str | None = None
    compared: Mapping[str, Recipe] = field(default_factory=dict)
    examples: Examples = field(default_factory=Examples)
    data: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    prepare: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What was asked."""
        return TASKS[self.settings.task]

    @property
    def measures(self) -> list[str]:
        """The measures that were taken; the first one ranks."""
        names = {name for run in self.runs for name in run.measures}
        return [name for name in self.task.measures if name in names]

    def of(self, method: str) -> list[MethodRun]:
        """A method's runs, by seed."""
        return sorted((r for r in self.runs if r.method == method), key=lambda r: r.seed)

    def estimate(self, method: str, measure: str) -> Estimate:
        """Mean and interval over the seeds."""
        return over_seeds([run.measures.get(measure, math.nan) for run in self.of(method)])

    def gap(self, method: str, other: str) -> Estimate:
        """By how much a method is better than another in the first measure, paired by seed.

        With intervals of :func:`isthmus.evaluation.intervals.paired`: each seed splits the same
        rows.
        """
        first = self.measures[0]
        sign = 1.0 if self.task.measures[first] else -1.0
        pairs = zip(self.of(method), self.of(other), strict=True)
        differences = [
            sign * (a.measures.get(first, math.nan) - b.measures.get(first, math.nan))
            for a, b in pairs
        ]
        return paired(differences, TEST_SHARE / (1.0 - TEST_SHARE))

    @property
    def ranking(self) -> list[str]:
        """Methods that were measured, the best first."""
        if not self.measures:
            return []
        first = self.measures[0]
        sign = -1.0 if self.task.measures[first] else 1.0
        names = {run.method for run in self.runs if not run.problem}
        mean = {name: self.estimate(name, first).mean for name in names}
        return sorted(names, key=lambda n: (math.isnan(mean[n]), sign * mean[n], n))

    @property
    def verdict(self) -> Verdict:
        """What to take, and how sure that is."""
        return verdict(self)

    @property
    def best_baseline(self) -> str | None:
        """The baseline that ranks first."""
        return next((name for name in self.ranking if name in BASELINES), None)

    @property
    def left_out(self) -> dict[str, str]:
        """Methods without figures, and why."""
        return {run.method: run.problem for run in self.runs if run.problem}


def compare(
    X: Any,
    recipes: Sequence[RecipeLike] | Mapping[str, RecipeLike] | RecipeLike,
    task: str,
    *,
    labels: Any = None,
    seeds: int = 3,
    steps: int | None = None,
    batch_size: int = 256,
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
    definition = _task(task)
    compared = named(recipes, BASELINES)
    if not compared:
        raise IsthmusError("no recipes to compare: name some, as in --recipes plain,vae")
    budgets = validated(
        BudgetOptions,
        {"seeds": seeds, "steps": steps, "batch_size": batch_size, "latents": latents,
         "width": width, "minutes": minutes, "clusters": clusters},
    )  # fmt: skip
    options = dict(options or {})
    for name, choices in options.items():
        if name not in compared:
            raise unknown("compared recipe", name, compared)
        options[name] = compared[name].spelt(choices)
        compared[name].parse(choices)
    reading = Reading.checked(kind, axis, size, mode)
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
    folder = None if out is None else Path(out)
    state = {name: fingerprint(recipe) for name, recipe in compared.items()}
    runs = [] if folder is None else _kept(folder, prepared, settings, state)
    how = {"kind": kind, "axis": axis, "size": size, "mode": mode}
    comparison = Comparison(
        prepared, settings, runs, None, compared,
        Examples() if folder is None or not runs else examples.read(folder),
        data_of(X, labels), {k: v for k, v in how.items() if v is not None}, dict(prepare or {}),
    )  # fmt: skip
    _fill(comparison, compared, folder, state, report)
    if not comparison.ranking:
        first = next(iter(comparison.left_out.values()), "nothing was measured")
        raise IsthmusError(f"nothing could be compared: {first}")
    if folder is not None:
        take = comparison.verdict.take
        best = take if take in compared else next(
            (n for n in comparison.ranking if n in compared and n not in BASELINES), None
        )  # fmt: skip
        key = _key(prepared, settings)
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


def _fill(
    comparison: Comparison,
    compared: Mapping[str, Recipe],
    folder: Path | None,
    state: Mapping[str, str],
    report: ReportProgress | None,
) -> None:
    """Fit what is missing, and keep each fit at once."""
    settings, prepared = comparison.settings, comparison.prepared
    names = [*settings.recipes, *comparison.task.baselines]
    pairs = {(run.method, run.seed) for run in comparison.runs}
    todo = [(s, n) for s in range(settings.seeds) for n in names if (n, s) not in pairs]
    part: Split | None = None
    plain: Model | None = None
    last = -1
    for number, (seed, name) in enumerate(todo, 1):
        if seed != last:
            part, plain, last = split(prepared, seed), None, seed
        assert part is not None
        start = time.perf_counter()
        try:
            fitted = _fitted(name, part, settings, seed, plain, compared)
            if name == "plain" and isinstance(fitted, Model):
                plain = fitted
            seconds = time.perf_counter() - start
            measured = comparison.task.measure(fitted, part, settings.clusters, seed)
            problem = "" if measured is not None else f"it has no answer to {settings.task!r}"
            run = MethodRun(name, seed, measured or {}, fitted.parameters, seconds, problem)
            _exemplify(comparison, run, fitted, part)
        except IsthmusError as failure:
            run = MethodRun(name, seed, {}, 0, time.perf_counter() - start, str(failure))
        comparison.runs.append(run)
        if folder is not None:
            _keep(folder, comparison, state)
            if seed == examples.SEED:
                examples.write(folder, comparison.examples)
        if report is not None:
            report(f"{name}, seed {seed}", number, len(todo))


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


# --- what is kept ----------------------------------------------------------------------------


def _key(prepared: Prepared, settings: ComparisonSettings) -> str:
    """A hash of the data and of the settings but for the recipes and the number of seeds."""
    plain = asdict(settings)
    first = plain.pop("recipes")[0]
    del plain["seeds"]
    digest = hashlib.sha256(json.dumps([plain, first], sort_keys=True, default=str).encode())
    digest.update(prepared.digest())
    return digest.hexdigest()[:20]


def _keep(folder: Path, comparison: Comparison, state: Mapping[str, str]) -> None:
    plain = {
        "key": _key(comparison.prepared, comparison.settings),
        "data": comparison.prepared.name,
        "notes": comparison.prepared.notes,
        "state": dict(state),
        "settings": asdict(comparison.settings),
        "runs": [
            {**asdict(run), "measures": {k: _finite(v) for k, v in run.measures.items()}}
            for run in comparison.runs
        ],
    }
    text = json.dumps(plain, indent=1, default=str, allow_nan=False) + "\n"
    write_atomically(folder / RESULTS, text.encode())


def _kept(
    folder: Path, prepared: Prepared, settings: ComparisonSettings, state: Mapping[str, str]
) -> list[MethodRun]:
    """Fits that are there, but for those of recipes that are not what they were."""
    path = folder / RESULTS
    if not path.exists():
        return []
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        runs = [
            MethodRun(
                **{
                    **run,
                    "measures": {
                        k: math.nan if v is None else v for k, v in run["measures"].items()
                    },
                }
            )
            for run in plain["runs"]
        ]
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
