"""The picture that suits a model or a run: chosen by what it reads and what its codes are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import data
from isthmus.anatomy import Autoencoder, Source, decodes_latents
from isthmus.errors import IsthmusError
from isthmus.pages import overview
from isthmus.pages.codes import Codes, codes_of
from isthmus.pages.opened import Run, open_run, spread
from isthmus.pictures import panels
from isthmus.pictures.dictionary import atoms, densities, parts_shared, written
from isthmus.pictures.examples import drawn_of, opened
from isthmus.pictures.reconstructing import (
    corrupted,
    rebuilt,
    where_codes_lie,
)
from isthmus.pictures.sampling import can_sample, samples
from isthmus.pictures.sheet import Panel, Picture, need_matplotlib
from isthmus.pictures.traversal import strongest, traverse

ROWS = 2000
"""Rows whose codes are drawn."""
CHARTS = 6
TRAVERSED = 5
"""Latents that a portrait moves."""


def plot(folder: str | Path, X: Any = None) -> Picture:
    """The picture of a run: its curves, and what suits its data and its codes.

    Images, series and texts beside their reconstructions, columns of a table over what they were;
    codes in the plane, or how often and how many latents fire where they are sparse, with the
    strongest atoms of images. ``X`` are the rows, by default the test part of the run's data, or
    else these data; without either the curves alone are drawn, which is said.
    """
    need_matplotlib()
    run = open_run(Path(folder), X)
    charts = [chart for chart in overview.curves(run) if _moves(chart)][:CHARTS]
    all_panels: list[Panel] = []
    if charts:
        all_panels.append(panels.lines("learning curves", charts))
    about, where = ["learning curves"] if charts else [], ""
    if run.model is not None and run.rows is not None:
        suitable, topics = suited(run.model, run.rows, labels_of(run, X))
        all_panels += suitable
        about += topics
        where = f"; {run.about_rows}"
    if not all_panels:
        raise IsthmusError(
            f"{folder} has no curves, and its data are not to be found: name rows after the folder"
        )
    title = run.folder.resolve().name
    return Picture(tuple(all_panels), ", ".join(about) + where, title)


def _moves(chart: Mapping[str, Any]) -> bool:
    """Whether a figure of the log says anything: not where it was the same all along."""
    return any(len(set(line["y"])) > 1 for line in chart["lines"])


def suited(
    model: Autoencoder, source: Source, labels: np.ndarray | None = None
) -> tuple[list[Panel], list[str]]:
    """The panels that suit a model and rows, and what they show."""
    rows = spread(source, ROWS)
    codes = codes_of(model, rows)
    if codes.sparse:
        return _dictionary(model, source, codes)
    all_panels, topics = rebuilt(model, source), []
    if all_panels:
        topics.append("reconstructions")
    if labels is not None and len(labels) != codes.rows:
        labels = None
    panel = where_codes_lie(codes, labels)
    if panel is not None:
        all_panels.append(panel)
        topics.append("codes in the plane" + ("" if labels is None else ", coloured by label"))
    return all_panels, topics


def _dictionary(model: Autoencoder, source: Source, codes: Codes) -> tuple[list[Panel], list[str]]:
    """The panels of sparse codes, and what they show; activations themselves say nothing."""
    all_panels: list[Panel] = []
    topics: list[str] = []
    if model.signal.kind in ("image", "series"):
        all_panels += rebuilt(model, source)
        topics += ["reconstructions"] if all_panels else []
    if model.signal.kind == "image":
        _add(all_panels, topics, atoms(model, codes, drawn_of(model)[""]), "the strongest atoms")
    _add(all_panels, topics, written(model, source), "what is written")
    _add(all_panels, topics, parts_shared(model), "where latents write")
    return [*all_panels, *densities(codes)], [*topics, "how often and how many latents fire"]


def _add(all_panels: list[Panel], topics: list[str], panel: Panel | None, what: str) -> None:
    if panel is not None:
        all_panels.append(panel)
        topics.append(what)


def labels_of(run: Run, X: Any) -> np.ndarray | None:
    """The labels of the rows looked at, where these are a named set's or its test part's."""
    name = run.spec if X is None else X
    if run.source is None or run.rows is None or not isinstance(name, str):
        return None
    if not data.is_name(name):
        return None
    dataset = data.load(name)
    labels = dataset.train_labels if dataset.test is None else dataset.test_labels
    if labels is None or len(labels) != len(run.source):
        return None
    if len(run.rows) < len(run.source) or len(run.rows) > ROWS:
        return None
    return labels if labels.ndim == 1 else labels[:, 0]


def portrait(
    model: Autoencoder,
    X: Any,
    *,
    title: str = "",
    seed: int = 0,
    labels: Any = None,
    plane: bool = False,
) -> Picture:
    """A model at a glance: what it rebuilds, what it samples, what its strongest latents do.

    Each part is left out where the model cannot do it; where it neither samples nor moves single
    latents, and with ``plane``, its codes are drawn, coloured by ``labels``. Sparse codes have
    their strongest atoms and how often they fire.
    """
    need_matplotlib()
    source = opened(model, X)
    codes = codes_of(model, spread(source, ROWS))
    if codes.sparse:
        all_panels, about = _dictionary(model, source, codes)
        if len(all_panels) > 3:  # at a glance: how many fire is left to the picture of the run
            all_panels.pop()
            about[-1] = "how often latents fire"
        return Picture(tuple(all_panels), ", ".join(about), title)
    all_panels, about = [], []
    corruption = corrupted(model, source, seed=seed)
    if corruption is not None:
        all_panels.append(corruption)
        about.append("what the encoder is shown")
    else:
        all_panels += rebuilt(model, source, columns=10)
    if all_panels:
        about.append("inputs and reconstructions")
    if can_sample(model):
        number = {"image": 24, "vector": 500, "tokens": 8}.get(model.signal.kind, 24)
        picture = samples(model, number, seed=seed, against=source, across=12, columns=8)
        all_panels += [
            _titled(panel, "drawn from the prior" + _grey(picture.about))
            for panel in picture.panels
        ]
        about.append("samples")
    if decodes_latents(model) and model.signal.kind != "tokens" and not plane:
        latents = strongest(codes, TRAVERSED)
        all_panels += traverse(model, source, latents=latents, steps=11, span=2.0, seed=seed).panels
        about.append("traversals of the strongest latents")
    if plane or len(about) < 2:
        panel = where_codes_lie(codes, labels)
        if panel is not None:
            all_panels.append(panel)
            about.append("codes in the plane")
    return Picture(tuple(all_panels), ", ".join(about), title)


def _grey(about: str) -> str:
    return " (grey: the data)" if about.endswith("(grey: the data)") else ""


def _titled(panel: Panel, title: str) -> Panel:
    name = f"{panel.title}: {title}" if panel.title else title
    return Panel(name, panel.height, panel.draw, panel.width)
