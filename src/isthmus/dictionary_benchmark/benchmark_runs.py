"""All tasks for all dictionaries, one by one, each kept at once; the kept ones are not redone."""

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from isthmus.dictionary_benchmark.benchmark_figures import BenchmarkResult, DictionaryRow, TaskRun
from isthmus.dictionary_benchmark.control_dictionaries import controls
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import BenchmarkSettings, Ground
from isthmus.dictionary_benchmark.labelled_texts import TextSet, offline_texts, user_texts
from isthmus.dictionary_benchmark.opened_dictionaries import Dictionaries, open_dictionaries
from isthmus.dictionary_benchmark.task_protocol import BenchmarkTask, NotMeasurable
from isthmus.dictionary_benchmark.task_registry import tasks_named
from isthmus.errors import IsthmusError, MissingExtra
from isthmus.language import LanguageModel, documents
from isthmus.runs import write_atomically
from isthmus.training.progress import ProgressBar, Show

RESULTS = "results"
"""The folder of what is kept, a file for each task, dictionary and seed."""

ACTIVATIONS = "activations"
"""The folder of the host's activations, which goes when all is measured."""

MOST_SEEDS = 100


@dataclass(frozen=True)
class UserData:
    """A table of the user's own texts: file, column of the text, columns of labels."""

    path: str | Path
    text: str = "text"
    labels: tuple[str, ...] = ("label",)


def benchmark(
    dictionaries: Dictionaries,
    tasks: Sequence[str] | None = None,
    *,
    host: str | LanguageModel | None = None,
    at: str | None = None,
    out: str | Path | None = None,
    seeds: int = 3,
    data: UserData | None = None,
    settings: BenchmarkSettings | None = None,
    with_controls: bool = True,
    progress: Show = "auto",
) -> BenchmarkResult:
    """Measure dictionaries on a language model, on the same texts and with the same draws for all.

    dictionaries
        Folders of runs, what :func:`isthmus.from_pretrained` reads, or models by name; each
        rebuilds activations of one point by atoms of its latents. All of one host.
    tasks
        Names of :data:`~isthmus.dictionary_benchmark.task_registry.TASKS`; all by default.
    host, at
        The language model and the point in it, where the dictionaries do not say them.
    out
        A folder in which each result is kept; the same call goes on where it was stopped.
    seeds
        Draws of texts, splits and samples: 0, 1, ...
    data
        Texts of your own in place of the library's, for sparse probing, SCR and TPP.
    settings
        How much is looked at.
    with_controls
        Also measure a random dictionary, principal components and the neurons themselves.

    A task whose premise the host does not meet says so in one sentence, and gives no number.
    Raises :class:`IsthmusError` for what cannot be opened or compared.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise IsthmusError(f"seeds is {seeds}: pass a whole number from 1 to {MOST_SEEDS}")
    settings = settings or BenchmarkSettings()
    for name in ("texts", "context", "tokens", "latents"):
        if getattr(settings, name) < 2:
            raise IsthmusError(f"{name} is {getattr(settings, name)}: pass at least 2")
    selected = tasks_named(tasks)
    if settings.text is not None:
        documents(settings.text)  # an error now rather than after an hour
    model, examined = open_dictionaries(dictionaries, host, at)
    points = tuple(dict.fromkeys(one.point for one in examined))
    sets = _texts(data, settings)
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-"))
        folder = Path(place) if out is None else Path(out)
        ground = Ground(model, points, folder / ACTIVATIONS, settings, sets, progress)
        rows = [*examined, *(controls(ground, examined) if with_controls else [])]
        runs = _measured(ground, rows, selected, seeds, folder, progress)
        if out is not None:
            shutil.rmtree(folder / ACTIVATIONS, ignore_errors=True)
    return BenchmarkResult(
        model.name,
        model.revision,
        seeds,
        ground.text,
        {texts.name: len(texts) for texts in sets},
        asdict(settings),
        [DictionaryRow(one.name, one.point, one.latents, one.control) for one in rows],
        selected,
        runs,
    )


def _texts(data: UserData | None, settings: BenchmarkSettings) -> list[TextSet]:
    if data is None:
        return offline_texts(settings.texts)
    return [user_texts(data.path, data.text, data.labels, settings.texts)]


def _measured(
    ground: Ground,
    rows: Sequence[Examined],
    tasks: Sequence[BenchmarkTask],
    seeds: int,
    folder: Path,
    progress: Show,
) -> list[TaskRun]:
    """Every task for every seed and dictionary, what is kept taken from there."""
    runs: list[TaskRun] = []
    total = len(tasks) * seeds * len(rows)
    with ProgressBar("benchmark", total, "measurements", progress) as bar:
        for task in tasks:
            for seed in range(seeds):
                for one in rows:
                    runs.append(_one(ground, one, task, seed, folder))
                    bar.draw(len(runs), len(runs), f"{task.name} {one.name}")
    return runs


def _one(ground: Ground, one: Examined, task: BenchmarkTask, seed: int, folder: Path) -> TaskRun:
    key = _key(ground, one, task, seed)
    name = re.sub(r"[^\w.-]+", "_", one.name)
    path = folder / RESULTS / task.name / f"{name}-{key[:8]}-{seed}.json"
    kept = _read(path, key)
    if kept is not None:
        return replace(kept, dictionary=one.name)
    began = time.perf_counter()
    run = TaskRun(task.name, one.name, seed, {})
    try:
        task.premise(ground, one.point, seed)
        outcome = task.run(one, ground, seed)
        figures = {name: dict(units) for name, units in outcome.figures.items()}
        run = replace(run, figures=figures, notes=outcome.notes)
    except NotMeasurable as reason:
        run = replace(run, reason=str(reason))
    except MissingExtra as problem:  # not kept: it may be there next time
        return replace(run, reason=f"not measured: {problem}")
    run = replace(run, seconds=time.perf_counter() - began)
    content = json.dumps({"key": key, **asdict(run)}, indent=1)
    write_atomically(path, content.encode())
    return run


def _read(path: Path, key: str) -> TaskRun | None:
    """What was kept under this key; a damaged file is measured anew."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain.pop("key") != key:
            return None
        figures = {
            name: {unit: (float(a), float(b)) for unit, (a, b) in units.items()}
            for name, units in plain.pop("figures").items()
        }
        return TaskRun(**{**plain, "figures": figures, "notes": tuple(plain["notes"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _key(ground: Ground, one: Examined, task: BenchmarkTask, seed: int) -> str:
    """A hash of all that the result depends on."""
    what = (
        task.name, task.version, seed, asdict(ground.settings), ground.host.revision, ground.text,
        _content(ground.text),
        one.point, one.fingerprint, *_texts_hashes(ground.sets),
    )  # fmt: skip
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _content(text: str) -> str:
    """A hash of a text that is a file or a folder; named texts are what their name says."""
    place = Path(text).expanduser()
    if place.is_file():
        return hashlib.sha256(place.read_bytes()).hexdigest()
    files = sorted(place.rglob("*")) if place.is_dir() else []
    stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _texts_hashes(sets: Iterable[TextSet]) -> list[str]:
    return [
        hashlib.sha256(repr((one.name, one.texts, sorted(one.labels.items()))).encode()).hexdigest()
        for one in sets
    ]
