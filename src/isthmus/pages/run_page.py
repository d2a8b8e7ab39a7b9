"""One self-contained HTML file that shows a run and what its latents mean.

The page has a Content-Security-Policy that lets nothing run but its own script, by hash, and
nothing be loaded from anywhere. Data lie in blocks that browsers do not run
(:mod:`isthmus.pages.kit.blocks`), and the script writes them as text only.
"""

import os
from pathlib import Path

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.pages.kit import SCRIPTS, asset, block, document, scripts, tag
from isthmus.pages.opened import open_run
from isthmus.pages.shown import Shown, collect
from isthmus.recipes import RecipeLike
from isthmus.runs import DataLike, write_atomically
from isthmus.training.progress import Show

NAME = "report.html"
PACKAGE, KIT = "isthmus.pages", "isthmus.pages.kit"
OWN = ("data", "map", "table", "search", "latent", "looks", "overview", "page")
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

    The page is one file that works from disk, without a server or a network. It opens with what
    is to be seen: inputs beside what is rebuilt of them, samples, what the most informative latents
    do, the most anomalous rows of a table and why, the most interesting latents of a dictionary
    (:mod:`isthmus.pages.interesting`). Then come curves, measures with intervals, options, and all
    latents: of a dictionary on a language model's activations the features stored in
    ``folder/features``, which are computed where they are missing; of any other autoencoder its
    strongest inputs, the directions and traversals of its latents.

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
    place = Path(folder if out is None else out)
    if os.path.isdir(place):
        place = place / NAME
    if out is not None and place.suffix.lower() not in (".html", ".htm"):
        raise IsthmusError(f"{place} should end in .html: a report is a page")
    run = open_run(Path(folder), X, model, recipe)
    place = run.folder / NAME if out is None else place
    write_atomically(place, page_of(collect(run, progress)).encode())
    return place, run.missing


def page_of(shown: Shown) -> str:
    """The page, with its data behind its script."""
    body = [
        tag(
            "div", tag("noscript", "This page needs JavaScript, which it brings along."), id="page"
        ),
        "\n",
        block("run", {"title": shown.title, "looks": shown.looks, **shown.overview}),
        block("words", shown.words),
        block("latents", shown.latents),
    ]
    return document(
        shown.title,
        body,
        style=asset(PACKAGE, "run.css"),
        script="\n".join((scripts(KIT, SCRIPTS), scripts(PACKAGE, OWN))),
        after=[block(name, content) for name, content in shown.blocks.items()],
    )
