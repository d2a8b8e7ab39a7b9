"""Inputs with what a model rebuilds of them, and what it draws from its prior."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, Signal, Source, Tree
from isthmus.anatomy.layout import cut, like
from isthmus.data import Subset
from isthmus.errors import IsthmusError
from isthmus.pages.drawn_rows import Inputs, inputs_of
from isthmus.pages.kit import Binary

DRAWN = ("vector", "image", "series")
"""Kinds of signals whose rows can be drawn."""

IMAGES, CURVES, TEXTS, SAMPLED = 12, 6, 6, 24
WORST = 1_000
"""Rows among which the worst rebuilt are looked for."""

Look = dict[str, Any]
"""A part of the page to look at: ``title``, ``kind``, and what the page's script draws of it."""


def reconstructions(model: Autoencoder, source: Source, binary: Binary) -> list[Look]:
    """Rows spread over the data and the worst rebuilt, each with what is rebuilt of it.

    Images with where they differ, vectors and series as curves over one another, texts as they
    are; each part of a collection by itself. Nothing of a model that rebuilds something else.
    """
    if model.decoder is None or model.signal.kind == "graph":
        return []
    most = IMAGES if model.signal.kind == "image" else CURVES
    places, worst = _chosen(model, source, most)
    some = Subset(source, torch.tensor(places))
    if model.signal.kind == "tokens":
        return _texts(model, some)
    rows, recon = some.rows(torch.arange(len(places))), model.reconstruct(some, as_read=True)
    numbers = [str(int(n)) for n in source.numbers(torch.tensor(places))]
    about = (
        f"the last {worst} are the worst rebuilt of {min(WORST, len(source)):,}" if worst else ""
    )
    looks = []
    for name, part, values, back in _parts(model, rows, recon):
        inputs = inputs_of(model, np.asarray(values), source) if not name else _inputs(part, values)
        groups = {"input": np.asarray(values), "rebuilt": np.asarray(back)}
        title = f"{name}: inputs and what is rebuilt" if name else "Inputs and what is rebuilt"
        look = (
            _as_images(inputs, groups, binary)
            if inputs.is_image
            else _as_curves(inputs, groups, binary)
        )
        captions = numbers if inputs.is_image else [f"row {n}" for n in numbers]
        note = "; ".join(filter(None, (look.pop("about"), about)))
        looks.append({"title": title, "captions": captions, "about": note, **look})
    return looks


def samples(model: Autoencoder, source: Source, binary: Binary) -> list[Look]:
    """New examples from the prior, of models that have one and decode from it alone."""
    if model.prior is None or model.decoder is None or source.given_names:
        return []
    if model.signal.kind == "tokens" and model.signal.text is not None:
        texts = [str(text) for text in model.sample(TEXTS, seed=0)]
        return [{"title": "Drawn from the prior", "kind": "texts", "rows": [[t] for t in texts]}]
    if model.signal.kind not in ("image", "series") or model.target is not None:
        return []
    first = source.rows(torch.arange(min(64, len(source)))).numpy()
    inputs = inputs_of(model, first, source)
    number_of = SAMPLED if inputs.is_image else CURVES
    rows = np.asarray(model.sample(number_of, seed=0, as_read=True))
    place = binary.add(inputs.drawn(rows))
    kind = "strips" if inputs.is_image else "curves"
    strips = [{"name": "", "place": place}]
    look = {"title": "Drawn from the prior", "kind": kind, "count": len(rows), "strips": strips}
    return [{**look, "setting": inputs.setting(), "captions": [], "about": ""}]


def _chosen(model: Autoencoder, source: Source, most: int) -> tuple[list[int], int]:
    """Rows spread over the data, then the worst rebuilt, and how many these are."""
    # Spread over the rows: the first ones often come from one class or one document.
    spread = np.linspace(0, len(source) - 1, min(most, len(source))).astype(int).tolist()
    if len(source) < 3 * most:
        return spread, 0
    looked = np.linspace(0, len(source) - 1, min(WORST, len(source))).astype(int)
    try:
        scores = model.score(Subset(source, torch.from_numpy(looked)), kind="error")
    except IsthmusError:  # of a kind of rows that has no error
        return spread, 0
    keep = most - most // 3
    spread = np.linspace(0, len(source) - 1, keep).astype(int).tolist()
    order = looked[np.argsort(np.asarray(scores), kind="stable")]
    worst = [int(k) for k in order if int(k) not in spread][: most - keep]
    return [*spread, *worst], len(worst)


def _parts(model: Autoencoder, rows: Tree, recon: Tree) -> list[tuple[str, Signal, Any, Any]]:
    """What can be drawn beside what is rebuilt of it: name, signal, rows, and their likeness."""
    signals = dict(model.signal.parts) or {"": model.signal}
    names: tuple[str, ...] = getattr(model.target, "names", ())
    by_name = rows if isinstance(rows, Mapping) else {"": rows}
    if isinstance(recon, Mapping):
        back = dict(recon)
    else:
        back = {names[0] if len(names) == 1 and names[0] in by_name else "": recon}
    parts = []
    for name, part in signals.items():
        if name not in by_name or name not in back or part.kind not in DRAWN or part.ragged:
            continue
        if tuple(back[name].shape) == tuple(by_name[name].shape):
            parts.append((name, part, by_name[name], back[name]))
    return parts


def _inputs(part: Signal, rows: Any) -> Inputs:
    """How a part of a collection is drawn."""
    low, high = part.low, part.high
    if low is None or high is None:
        low, high = float(rows.min()), float(rows.max())
    return Inputs(part, low, high)


def _as_images(inputs: Inputs, groups: Mapping[str, np.ndarray], binary: Binary) -> Look:
    """Strips of images, and below them where they differ, in one scale for all."""
    drawn = {name: inputs.drawn(rows) for name, rows in groups.items()}
    strips: list[Look] = [{"name": n, "place": binary.add(rows)} for n, rows in drawn.items()]
    first, second = drawn.values()
    away = second.astype(np.float64) - first
    most = max(1.0, float(np.quantile(np.abs(away), 0.995)))
    signed = (away / most * 127).round().clip(-127, 127).astype(np.int8)
    strips.append({"name": "difference", "place": binary.add(signed), "signed": True})
    about = f"red is too bright, blue too dark; full colour is {most / 255:.2g} of the range"
    count = len(first)
    return {
        "kind": "strips", "count": count, "strips": strips, "setting": inputs.setting(),
        "about": about,
    }  # fmt: skip


def _as_curves(inputs: Inputs, groups: Mapping[str, np.ndarray], binary: Binary) -> Look:
    strips = [
        {"name": name, "place": binary.add(inputs.drawn(rows))} for name, rows in groups.items()
    ]
    count = len(next(iter(groups.values())))
    standard = inputs.scale is not None and not inputs.names
    return {
        "kind": "curves", "count": count, "strips": strips, "setting": inputs.setting(),
        "about": "each column in its standard deviations" if standard else "",
    }  # fmt: skip


def _texts(model: Autoencoder, some: Source) -> list[Look]:
    if model.signal.text is None:
        return []
    batch = some.batch(torch.arange(len(some)))
    rows = like(some, cut(batch.x, model.signal, batch.mask))
    back = model.reconstruct(some)
    pairs = [[_said(a), _said(b)] for a, b in zip(rows, back, strict=True)]
    heads = ["input", "rebuilt"]
    return [{"title": "Texts and what is rebuilt", "kind": "texts", "heads": heads, "rows": pairs}]


def _said(text: Any) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
