"""What a dictionary means to the language model whose activations it was fitted to."""

from pathlib import Path
from typing import Any

import torch

from isthmus.anatomy import Each, Only
from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.interpretation import behaviour, source_features
from isthmus.interpretation.encoding import parts_read
from isthmus.interpretation.features.format import ABOUT, FOLDER
from isthmus.interpretation.replacement import is_cross_layer
from isthmus.pages.opened import Run
from isthmus.training.checkpoint import MODEL
from isthmus.training.journal import located
from isthmus.training.progress import Show

SPLICED = 16_384
"""Tokens on which the reconstruction is spliced into the model."""


def features_folder(run: Run, progress: Show = "auto") -> Path | None:
    """Where the run's features lie, computed first where they are missing.

    None for a run on other data than the activations on a text, and where the text or the model
    are not to be had.
    """
    folder = run.folder / FOLDER
    if (folder / ABOUT).exists():
        if (folder / ABOUT).stat().st_mtime < located(run.folder, MODEL).stat().st_mtime:
            run.notes.append(
                f"The features are older than the model and may be of an earlier fit: delete "
                f"{folder} and report again."
            )
        return folder
    if run.model is None or run.source is None or _text_of(run) is None:
        return None
    try:
        source_features(run.source, run.model, run.folder, progress=progress)
    except IsthmusError as problem:
        run.miss(f"No features were computed: {problem}.")
        return None
    return folder


def kept_behaviour(run: Run) -> dict[str, Result]:
    """What the language model still does with the reconstruction; empty where it does not apply."""
    origin = _text_of(run)
    if origin is None or run.model is None:
        return {}
    point: str | list[str] = origin.points[0]
    reads = None
    if is_cross_layer(run.model):
        point = [name for name, _ in run.model.part_as("decoder", Each, "the report").items()]
    elif len(origin.points) > 1:
        # A transcoder reads one point and stands in for another; a crosscoder rebuilds them all.
        target, sources = run.model.target, parts_read(run.model)
        if not isinstance(target, Only) or len(target.names) > 1 or len(sources) > 1:
            run.notes.append(
                "The model's behaviour was not measured: this dictionary has one code for "
                f"{len(origin.points)} points together, and a reconstruction is put in at one."
            )
            return {}
        (point,), (reads,) = target.names, sources
    tokens = origin.tokens
    rows = max(1, min(len(tokens), SPLICED // tokens.ids.shape[1]))
    some = torch.linspace(0, len(tokens) - 1, rows).long().unique()
    try:
        return behaviour(origin.open(), point, run.model, tokens.rows(some), reads=reads)
    except IsthmusError as problem:
        run.notes.append(f"The model's behaviour was not measured: {problem}.")
        return {}


def _text_of(run: Run) -> Any:
    """Where the activations came from, if that was a text; else None."""
    origin = None if run.source is None else run.source.origin
    return None if origin is None or origin.tokens is None else origin
