"""Everything that the page of a run shows, as plain data: collected first, written after."""

from dataclasses import dataclass
from typing import Any

from isthmus import runs
from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.pages import anomalies, overview, reconstructions
from isthmus.pages.codes import Codes, codes_of
from isthmus.pages.kit import Binary, packed
from isthmus.pages.language_features import features_folder, kept_behaviour
from isthmus.pages.latents import Latents
from isthmus.pages.latents_from_rows import latents_of
from isthmus.pages.latents_from_text import text_latents
from isthmus.pages.opened import Run
from isthmus.pages.reconstructions import Look
from isthmus.training.progress import Show


@dataclass
class Shown:
    """What is shown of a run.

    title
        The name of its folder.
    looks
        What the page opens with, each a ``title``, a ``kind`` and what is drawn of it.
    overview
        The rest of the overview: facts, options, measures, curves, firing rates, notes.
    latents, words
        The table of its latents, where it has any that can be shown, and the words of their texts.
    blocks
        What the page's script unpacks when it is needed, by name: the pictures of ``looks``, the
        details of the latents, the rows that these refer to.
    """

    title: str
    looks: list[Look]
    overview: dict[str, Any]
    latents: dict[str, Any] | None
    words: list[str]
    blocks: dict[str, str]


def collect(run: Run, progress: Show = "auto") -> Shown:
    """What is shown of an opened run; what cannot be had becomes one of its notes."""
    results = _measured(run)
    latents, codes = _latents(run, progress)
    binary = Binary()
    looks = _looks(run, latents, codes, binary)
    about = overview.about(run)
    if latents is not None and latents.about:
        about["facts"].append(["features", latents.about])
    facts = {
        "about": about,
        "measures": overview.measures(run, results),
        "curves": overview.curves(run),
        "notes": [*run.notes, *([] if latents is None else latents.notes)],
    }
    if latents is not None and latents.rates is not None:
        facts["firing"] = overview.firing(latents.rates, *latents.rates_of)
    return Shown(
        title=run.folder.resolve().name or "run",
        looks=looks,
        overview=facts,
        latents=None if latents is None else latents.as_block(),
        words=[] if latents is None else latents.vocabulary,
        # Pictures first: they are what the page opens with.
        blocks={
            "pictures": packed({}, binary.bytes()),
            **({} if latents is None else latents.blocks()),
        },
    )


def _measured(run: Run) -> dict[str, Result] | None:
    if run.model is None or run.rows is None:
        return None
    try:
        return {**runs.evaluate(run.model, run.rows), **kept_behaviour(run)}
    except IsthmusError as problem:
        run.miss(f"The measures were not taken: {problem}.")
        return None


def _latents(run: Run, progress: Show) -> tuple[Latents | None, Codes | None]:
    folder = features_folder(run, progress)
    if folder is not None:
        return text_latents(folder), None
    if run.model is None or run.rows is None:
        return None, None
    codes = codes_of(run.model, run.rows)
    return latents_of(run.model, run.rows, codes), codes


def _looks(run: Run, latents: Latents | None, codes: Codes | None, binary: Binary) -> list[Look]:
    """What is looked at first: of a sparse code its latents, else what is rebuilt."""
    looks: list[Look] = []
    model, rows = run.model, run.rows
    if model is not None and rows is not None and not run.on_activations:
        table = anomalies.table_of(model, rows)
        try:
            if table is not None:
                looks += anomalies.anomalies(table)
                looks += [] if codes is None else anomalies.moves(table, codes)
            else:
                looks += reconstructions.reconstructions(model, rows, binary)
                looks += reconstructions.samples(model, rows, binary)
        except IsthmusError as problem:
            run.notes.append(f"A part of the page is left out: {problem}.")
    if latents is None or not latents.featured:
        return looks
    sparse = latents.rates is not None
    title = "Latents to begin with" if sparse else "What the most informative latents do"
    first: Look = {"title": title, "kind": "latents", "about": latents.featured_about}
    first["places"] = latents.featured
    return [first, *looks] if sparse else [*looks, first]
