"""What a run's folder holds, with its model and its data where these can be had."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from isthmus import data, runs
from isthmus.activations.spec import relocated
from isthmus.anatomy import Autoencoder, Source
from isthmus.data import Subset
from isthmus.errors import IsthmusError
from isthmus.notices import say
from isthmus.recipes import RecipeLike
from isthmus.runs import DataLike, check_fit, described
from isthmus.training.checkpoint import read_config, read_log
from isthmus.training.many import read_manifest

MOST_ROWS = 10_000
"""Rows of the data that a page is made from; a run may have many times more."""

SLOW_ROWS = 2_000
"""The same for models that decode every row many times."""

STRETCHES = 50
"""Stretches of consecutive rows that these come in: a store reads them faster than single rows."""

HARVESTED = ("lm:", "store:")
"""How specifications of a language model's activations begin."""


@dataclass
class Run:
    """A run that is reported on.

    ``records`` are the lines of its log. ``model`` is None where it cannot be built from the
    folder alone, ``source`` where the data are not to be found; ``rows`` are those of it that are
    looked at, and ``about_rows`` says which these are. ``notes`` tell the reader what is missing,
    and why; those of ``missing`` are about what the run names and could not be had.
    """

    folder: Path
    config: dict[str, Any]
    records: list[dict[str, Any]]
    model: Autoencoder | None = None
    source: Source | None = None
    rows: Source | None = None
    about_rows: str = ""
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def miss(self, sentence: str) -> None:
        """Note what could not be had, and say it to who asked for the page."""
        self.notes.append(sentence)
        self.missing.append(sentence)
        say(f"the page of {self.folder} lacks a part: {sentence.rstrip('.')}")

    @property
    def spec(self) -> str | None:
        """The data that it was fitted to, by name or file; None where they were neither."""
        spec: str | None = (self.config.get("data") or {}).get("spec")
        return spec

    @property
    def on_activations(self) -> bool:
        """Whether the data are activations of a language model."""
        return self.spec is not None and self.spec.startswith(HARVESTED)


def open_run(
    folder: Path,
    X: DataLike | None = None,
    model: Autoencoder | None = None,
    recipe: RecipeLike | None = None,
) -> Run:
    """Read a run's folder, its model, and its data (``X``, or what the folder names).

    ``model`` and ``recipe`` are as in :func:`isthmus.load`.

    Raises :class:`IsthmusError` for a folder that is no run, or a damaged one; what cannot be had
    of a sound folder becomes a note.
    """
    if read_manifest(folder) is not None:
        raise IsthmusError(
            f"{folder} holds several runs of one pass: report on each by its own folder"
        )
    run = Run(folder, read_config(folder), read_log(folder))
    try:
        run.model = runs.load(folder, model, recipe=recipe)
    except IsthmusError as problem:
        # A damaged folder is an error; a model of the user's own parts only cannot be shown.
        if run.config["recipe"] is not None and not _is_own(run.config):
            raise
        run.notes.append(f"The model was not opened: {problem}.")
    if run.model is not None:
        _find_rows(run, run.model, X)
    return run


def _find_rows(run: Run, model: Autoencoder, X: DataLike | None) -> None:
    if X is None and run.spec is None:
        sentence = (
            "The data of this run were not a name or a file, so nothing was measured on them: "
            "name them after the folder."
        )
        run.notes.append(sentence)
        say(f"the page of {run.folder} has no rows: {sentence.rstrip('.')}")
        return
    part = "the rows given"
    try:
        if X is None:
            source, part = _own_rows(run, model)
        else:
            source = runs.held_out_source(X, model)
            check_fit(model, source)
    except IsthmusError as problem:
        if X is not None:
            raise
        run.miss(
            f"Nothing was measured on the data of this run: {problem} (where they were moved, name "
            f"the new place after the folder: isthmus report {run.folder} DATA)."
        )
        return
    run.source, run.rows = source, spread(source, _most(model))
    extent = f"{len(run.rows):,} rows"
    if len(run.rows) < len(source):
        extent = f"{len(run.rows):,} of {len(source):,} rows, in {STRETCHES} stretches"
    run.about_rows = f"{part}: {extent}"


def _own_rows(run: Run, model: Autoencoder) -> tuple[Source, str]:
    """The test part of the data that a run names, or else these data, and which of them it is.

    They are read once: of a named set a whole archive has to be gone through.
    """
    assert run.spec is not None
    spec = relocated(run.spec, run.folder)
    dataset = data.load(spec) if data.is_name(spec) else None
    source = runs.held_out_source(spec if dataset is None else dataset, model)
    check_fit(model, source)
    whole = (
        source
        if dataset is None
        else data.ArraySource(dataset.train, dataset.kind, name=dataset.name)
    )
    if described(spec, whole)["fingerprint"] != run.config["data"]["fingerprint"]:
        raise IsthmusError(f"{spec} has changed since the run")
    if dataset is not None and dataset.test is not None:
        return source, f"the test part of {spec}"
    return source, "the rows that the run was fitted to, as no others are known"


def _most(model: Autoencoder) -> int:
    return SLOW_ROWS if model.cost["encode"] > 1.0 or model.prior is not None else MOST_ROWS


def spread(source: Source, most: int) -> Source:
    """At most ``most`` rows, in stretches spread evenly over all of them, in order."""
    total = len(source)
    if total <= most:
        return source
    length = max(1, most // STRETCHES)
    starts = torch.linspace(0, total - length, max(1, most // length)).long()
    index = (starts[:, None] + torch.arange(length)).flatten().unique()
    return Subset(source, index)


def _is_own(config: dict[str, Any]) -> bool:
    """Whether a recipe or modules of the user's own are needed, which may not be at hand."""
    return "origin" in config or any(
        isinstance(v, dict) and "module" in v for v in config["options"].values()
    )
