"""Of a table: the rows that fit a model least and why, ordinary rows, and what latents move."""

from typing import Any

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, Source, decodes_latents
from isthmus.anatomy.scoring import kind_of_score
from isthmus.anatomy.thresholds import below, suits
from isthmus.data import Subset
from isthmus.pages.codes import Codes
from isthmus.pages.kit import number, short
from isthmus.pages.reconstructions import Look
from isthmus.pages.traversals import most_informative, traversed

ROWS, COLUMNS = 6, 5
"""Rows that are shown, and columns of each: those that speak most against it."""

SHARE = 0.05
"""Of the rows, those that fit least: what drives their scores is said of all of them together."""

TYPICAL, MOST_COLUMNS = 4, 30
LATENTS, MOVED = 6, 5
"""Latents that are shown, and columns of each: those that it moves most."""

BINS = 40


def table_of(model: Autoencoder, source: Source) -> "Table | None":
    """The rows as a table; None where their columns have no names, or something else is rebuilt."""
    if model.signal.kind != "vector" or model.decoder is None or model.target is not None:
        return None
    table = Table(model, source)
    return table if table.columns else None


def anomalies(table: "Table") -> list[Look]:
    """The most anomalous rows with what drives their scores, then ordinary ones.

    Scores and drivers are those of ``model.score`` and ``model.drivers``; values stand beside what
    is rebuilt, in the user's units.
    """
    model, source = table.model, table.source
    scores = np.asarray(model.score(source))
    order = np.argsort(scores, kind="stable")
    least = order[: max(1, round(SHARE * len(order)))]
    drivers = table.drivers(least)
    limit = _threshold(model)
    entries = []
    values, recon = table.values(least[:ROWS])
    for place, row in enumerate(least[:ROWS]):
        against = np.argsort(-drivers[place], kind="stable")[:COLUMNS]
        total = float(drivers[place].clip(0.0).sum()) or 1.0
        entries.append(
            {
                "row": table.number(int(row)),
                "score": number(float(scores[row]), 4),
                "cells": [
                    [table.columns[c], values[place][c], recon[place][c],
                     number(float(drivers[place][c]) / total, 3)]
                    for c in against
                    if drivers[place][c] > 0
                ],
            }
        )  # fmt: skip
    mean = drivers.clip(0.0).mean(0)
    shares = mean / (float(mean.sum()) or 1.0)
    top = np.argsort(-shares, kind="stable")[:8]
    counts, edges = np.histogram(scores.clip(np.quantile(scores, 0.002)), BINS)
    kind = "nats" if _in_nats(model, source) else "minus the mean squared error, standardised"
    return [
        {
            "title": "The most anomalous rows, and why",
            "kind": "anomalies",
            "rows": entries,
            "shares": [[table.columns[c], number(float(shares[c]), 3)] for c in top],
            "least": len(least),
            "of": len(scores),
            "scores": {
                "counts": counts.tolist(),
                "low": number(float(edges[0])),
                "high": number(float(edges[-1])),
                "limit": number(limit),
                "below": None if limit is None else int(below(scores, limit).sum()),
            },
            "about": f"score: {kind}, higher is more normal",
        },
        _ordinary(table, order),
    ]


def _ordinary(table: "Table", order: np.ndarray) -> Look:
    """Rows of middling scores: all their columns beside what is rebuilt."""
    rows = order[(np.linspace(0.25, 0.9, TYPICAL) * (len(order) - 1)).astype(int)]
    values, recon = table.values(rows)
    columns = table.columns[:MOST_COLUMNS]
    more = len(table.columns) - len(columns)
    return {
        "title": "Ordinary rows and what is rebuilt",
        "kind": "table",
        "columns": columns,
        "rows": [
            {"row": table.number(int(row)), "values": values[k][: len(columns)],
             "rebuilt": recon[k][: len(columns)]}
            for k, row in enumerate(rows)
        ],
        "about": f"the first {len(columns)} of {len(table.columns)} columns" if more else "",
    }  # fmt: skip


def moves(table: "Table", codes: Codes) -> list[Look]:
    """The columns that each of the most informative latents moves most, from low to high.

    By how far they go, in standard deviations; the other latents stay at their means.
    """
    model = table.model
    if not decodes_latents(model) or codes.sparse:
        return []
    scale = model.scaler.scale.detach().cpu().numpy() if model.scaler.by_column else 1.0
    entries = []
    for way in traversed(model, codes, most_informative(codes, LATENTS), steps=3):
        rows = np.asarray(way.rows)
        shifts = np.sqrt(table.by_column(((rows[[-1]] - rows[[0]]) / scale) ** 2))[0]
        most = np.argsort(-shifts, kind="stable")[:MOVED]
        cells = table.cells(rows)
        entries.append(
            {
                "place": way.latent,
                "at": short(way.values, 2),
                "cells": [[table.columns[c], *(cells[k][c] for k in range(3))] for c in most],
            }
        )
    about = (
        "the columns that each moves most, from its low values to its high ones (0.5 to 99.5 %), "
        "the others at their means"
    )
    title = "What the most informative latents move"
    return (
        [{"title": title, "kind": "moves", "latents": entries, "about": about}] if entries else []
    )


def _threshold(model: Autoencoder) -> float | None:
    """The score that 5 % of the training rows lie below, where the run kept their scores."""
    training_scores = model.config.get("scores")
    if training_scores is None or not suits(training_scores, "auto"):
        return None
    return float(model.threshold(contamination=SHARE))


def _in_nats(model: Autoencoder, source: Source) -> bool:
    code = model.encode(Subset(source, torch.arange(1)), code=True)
    return kind_of_score(model, code, "auto") != "error"


class Table:
    """Rows by the columns that the user knows, whatever features a model reads of them."""

    def __init__(self, model: Autoencoder, source: Source) -> None:
        self.model, self.source = model, source
        inner, _ = source.base(torch.arange(0))
        preparation = (getattr(model.preparation, "parts", None) or {}).get("")
        self.preparation: Any = preparation
        self.encoders = list(getattr(preparation, "encoders", ()))
        self.encoders = [one for one in self.encoders if one.features]
        self.restored = getattr(preparation, "restored", None)
        self.table = getattr(inner, "table", None)
        names = [str(name) for name in inner.columns or []]
        if self.encoders:
            self.columns = [one.name for one in self.encoders]
        else:
            self.columns = names if len(names) == model.signal.numel else []

    def number(self, place: int) -> int:
        """The row's number as the user knows it."""
        return int(self.source.numbers(torch.tensor([place]))[0])

    def drivers(self, places: np.ndarray) -> np.ndarray:
        """How much each column speaks against these rows, ``(rows, columns)``."""
        contributions = np.asarray(self.model.drivers(self._some(places), as_read=True))
        return self.by_column(contributions.reshape(len(places), -1))

    def values(self, places: np.ndarray) -> tuple[list[list[Any]], list[list[Any]]]:
        """Cells of these rows, and what is rebuilt of them, in the user's units."""
        some = self._some(places)
        rows = np.asarray(some.rows(torch.arange(len(places))))
        recon = np.asarray(self.model.reconstruct(some, as_read=True))
        if self.restored is None or not self.encoders:
            return self.cells(rows), self.cells(recon)
        _, index = some.base(torch.arange(len(places)))
        table = self.table if self.table is not None else self.restored(rows)
        at = index.numpy() if self.table is not None else np.arange(len(places))
        columns = [table.columns.get(name) for name in self.columns]
        if any(column is None or column.kind == "free" for column in columns):
            table, at = self.restored(rows), np.arange(len(places))
        cells = _by_row([table.columns[name].take(at) for name in self.columns])
        return cells, self.cells(recon)

    def cells(self, features: np.ndarray) -> list[list[Any]]:
        """Features ``(rows, features)`` as cells of the columns that they were made of."""
        if self.restored is None or not self.encoders:
            return [_cells(row) for row in features]
        back = self.restored(features)
        return _by_row([back.columns[name] for name in self.columns])

    def by_column(self, features: np.ndarray) -> np.ndarray:
        """Sums of what features have, ``(rows, features)``, over those of each column."""
        if not self.encoders:
            return features
        kept = [bool(one.features) for one in self.preparation.encoders]
        return np.asarray(self.preparation.by_column(features))[:, kept]

    def _some(self, places: np.ndarray) -> Source:
        return Subset(self.source, torch.from_numpy(np.asarray(places, np.int64)))


def _by_row(columns: list[Any]) -> list[list[Any]]:
    cells = [[_cell(value) for value in column.objects()] for column in columns]
    return [list(row) for row in zip(*cells, strict=True)]


def _cells(row: np.ndarray) -> list[Any]:
    return [_cell(value) for value in row.tolist()]


def _cell(value: Any) -> Any:
    """A number, or text; None for what is missing."""
    if value is None or value != value:
        return None
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, float, np.integer, np.floating)):
        return number(float(value), 5)
    text = str(value).removesuffix(".000000")
    return text.removesuffix("T00:00:00").removesuffix(" 00:00:00")
