"""The latents of a run as the page shows them, whatever kind of autoencoder they are of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from isthmus.pages.kit.blocks import Detail, array, packed

CHUNK = 128
"""Latents whose details lie in one block of a page."""

Form = Literal["share", "number", "count"]


@dataclass(frozen=True)
class Column:
    """One figure of every latent: ``values`` ``(latents,)``, NaN where there is none."""

    key: str
    title: str
    about: str
    values: np.ndarray
    form: Form = "number"


@dataclass
class Latents:
    """What the page shows of the latents.

    ids
        The latents' numbers, ``(latents,)``.
    columns
        Their figures, for the table; ``order`` is the key of the one that it is sorted by,
        largest first.
    featured
        The places of those that the page opens with; ``featured_about`` says how they were chosen.
    details
        ``details(start, stop)`` returns what is shown of each of these latents when it is
        opened, with the bytes that this refers to.
    labels
        A label for each latent, None where it has none; empty where no latent has.
    tokens
        For each latent the tokens that it fires on, as numbers in ``vocabulary``.
    rates
        Share of rows on which each fires, where firing has a meaning, and of how many rows.
    points
        The map of decoder directions, ``(latents, 2)``.
    about
        From what this was found, where that is not the run's own data.
    setting
        What the page's scripts have to know about the details (kinds and shapes).
    pools
        Makes the packed blocks that several latents refer to, by name; called after ``details``
        was, for all latents.
    """

    ids: np.ndarray
    columns: list[Column]
    order: str
    details: Callable[[int, int], tuple[list[Detail], bytes]]
    featured: list[int] = field(default_factory=list)
    featured_about: str = ""
    labels: list[str | None] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)
    vocabulary: list[str] = field(default_factory=list)
    rates: np.ndarray | None = None
    rates_of: tuple[int, str] = (0, "")
    points: np.ndarray | None = None
    points_about: str = ""
    about: str = ""
    setting: dict[str, Any] = field(default_factory=dict)
    pools: Callable[[], dict[str, str]] = dict
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(self) -> dict[str, str]:
        """The packed blocks of a page by name: details in chunks, then what they refer to."""
        blocks = {}
        for start in range(0, len(self), CHUNK):
            details, binary = self.details(start, min(start + CHUNK, len(self)))
            blocks[f"chunk-{start // CHUNK}"] = packed(details, binary)
        # The details come first: they say which rows the pools must hold.
        return {**blocks, **self.pools()}

    def as_block(self) -> dict[str, Any]:
        """What the page reads when it opens."""
        return {
            "ids": array(self.ids),
            "columns": [
                {
                    "key": column.key,
                    "title": column.title,
                    "about": column.about,
                    "form": column.form,
                    "values": array(column.values.astype(np.float32)),
                }
                for column in self.columns
            ],
            "order": self.order,
            "labels": self.labels,
            "tokens": self.tokens,
            "map": None if self.points is None else array(self.points.astype(np.float32)),
            "map_about": self.points_about,
            "rates": None if self.rates is None else array(self.rates.astype(np.float32)),
            "chunk": CHUNK,
            **self.setting,
        }
