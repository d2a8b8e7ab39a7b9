"""One self-contained HTML file that shows a run and what its latents mean.

The page has a Content-Security-Policy that lets nothing run but its own script, by hash, and
nothing be loaded from anywhere. Data lie in blocks that browsers do not run
(:mod:`isthmus.pages.kit.blocks`), and the script writes them as text only.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isthmus import runs
from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.pages import overview
from isthmus.pages.kit import SCRIPTS, asset, block, document, packed, scripts, tag
from isthmus.pages.language_features import features_folder, kept_behaviour
from isthmus.pages.latents import CHUNK, Latents
from isthmus.pages.latents_from_rows import latents_of
from isthmus.pages.latents_from_text import text_latents
from isthmus.pages.opened import Run, open_run
from isthmus.pages.reconstructions import gallery
from isthmus.recipes import RecipeLike
from isthmus.runs import DataLike, write_atomically
from isthmus.training.progress import Show

NAME = "report.html"
PACKAGE, KIT = "isthmus.pages", "isthmus.pages.kit"
OWN = ("data", "map", "table", "search", "latent", "overview", "page")
"""The page's own scripts, in the order in which they are joined behind the kit's."""


def report(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    X: DataLike | None = None,
    model: Autoencoder | None = None,
    recipe: RecipeLike | None = None,
    progress: Show = "auto",
) -> Path:
    """Write the page of a run, and return where: ``report.html`` in its folder, or ``out``.

    The page is one file that works from disk, without a server or a network. It shows the run
    (recipe, options, measures with intervals, curves) and its latents: of a dictionary on a
    language model's activations the features stored in ``folder/features``, which are computed
    where they are missing; of any other autoencoder its strongest inputs, the directions and
    traversals of its latents.

    ``X`` are rows to measure on and to take examples from; by default the test part of the run's
    data, or else these data, where the folder says what they were. At most 10,000 rows are looked
    at (``isthmus.evaluate`` measures all); the page says which. What cannot be had of a sound
    folder is left out and said in the page. ``model`` and ``recipe`` are for a run whose builder
    cannot be imported, as in :func:`isthmus.load`. A folder that is no run, or a damaged one, is an
    :class:`IsthmusError`.
    """
    return written(folder, out, X=X, model=model, recipe=recipe, progress=progress)[0]


def written(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    X: DataLike | None = None,
    model: Autoencoder | None = None,
    recipe: RecipeLike | None = None,
    progress: Show = "auto",
) -> tuple[Path, list[str]]:
    """As :func:`report`; also what the run names and the page lacks, a sentence each."""
    run = open_run(Path(folder), X, model, recipe)
    place = Path(out) if out is not None else run.folder / NAME
    if place.is_dir():
        place = place / NAME
    results = _measured(run)
    latents = _latents(run, progress)
    write_atomically(place, _page(run, results, latents).encode())
    return place, run.missing


def _measured(run: Run) -> dict[str, Result] | None:
    if run.model is None or run.rows is None:
        return None
    try:
        return {**runs.evaluate(run.model, run.rows), **kept_behaviour(run)}
    except IsthmusError as problem:
        run.miss(f"The measures were not taken: {problem}.")
        return None


def _latents(run: Run, progress: Show) -> Latents | None:
    folder = features_folder(run, progress)
    if folder is not None:
        return text_latents(folder)
    if run.model is None or run.rows is None:
        return None
    return latents_of(run.model, run.rows)


def _page(run: Run, results: dict[str, Result] | None, latents: Latents | None) -> str:
    """The page, with its data behind its script."""
    title = run.folder.resolve().name or "run"
    # The details of the latents come first: they say which rows the pools must hold.
    chunks = [] if latents is None else list(_chunks(latents))
    pools = {} if latents is None else latents.pools()
    shown = _overview(run, results, latents)
    strips = _strips(run)
    if strips is not None:
        shown["gallery"], pools["gallery"] = strips
    body = [
        tag(
            "div", tag("noscript", "This page needs JavaScript, which it brings along."), id="page"
        ),
        "\n",
        block("run", {"title": title, **shown}),
        block("words", [] if latents is None else latents.vocabulary),
        block("latents", None if latents is None else latents.as_block()),
    ]
    return document(
        title,
        body,
        style=asset(PACKAGE, "run.css"),
        script="\n".join((scripts(KIT, SCRIPTS), scripts(PACKAGE, OWN))),
        after=[*chunks, *(block(name, content) for name, content in pools.items())],
    )


def _chunks(latents: Latents) -> Iterator[str]:
    for start in range(0, len(latents), CHUNK):
        details, binary = latents.details(start, min(start + CHUNK, len(latents)))
        yield block(f"chunk-{start // CHUNK}", packed(details, binary))


def _overview(
    run: Run, results: dict[str, Result] | None, latents: Latents | None
) -> dict[str, Any]:
    about = overview.about(run)
    if latents is not None and latents.about:
        about["facts"].append(["features", latents.about])
    shown = {
        "about": about,
        "measures": overview.measures(run, results),
        "curves": overview.curves(run),
        "notes": [*run.notes, *([] if latents is None else latents.notes)],
    }
    if latents is not None and latents.rates is not None:
        shown["firing"] = overview.firing(latents.rates, *latents.rates_of)
    return shown


def _strips(run: Run) -> tuple[dict[str, Any], str] | None:
    if run.model is None or run.rows is None or run.on_activations:
        return None
    try:
        return gallery(run.model, run.rows)
    except IsthmusError as problem:
        run.notes.append(f"Reconstructions are not shown: {problem}.")
        return None
