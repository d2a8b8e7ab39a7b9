"""MovieLens as sequences of films: who rated what, in which order, and the genres of each film."""

import csv
import gzip
import lzma
from dataclasses import dataclass
from functools import cache

import numpy as np

from isthmus.data import catalogue

NEEDS = ("ml_latest_small_2015/ratings", "ml_latest_small_2015/movies")
"""Data sets, for ``needs=`` of a claim."""

LEAST = 5
"""Films with fewer ratings are left out: nothing can be learnt of them."""


@dataclass(frozen=True)
class Films:
    """Sequences of films by user, in the order of their ratings; 0 is no film.

    ``sequences`` holds int64 arrays of films from 1 on, ``genres`` is bool ``(films + 1, genres)``
    with the names ``names``.
    """

    sequences: tuple[np.ndarray, ...]
    genres: np.ndarray
    names: tuple[str, ...]


@cache
def films() -> Films:
    """706 users' ratings; whatever the number of stars, a rating says that a film was watched."""
    ratings, movies = (catalogue.entries()[name] for name in NEEDS)
    catalogue.verify(ratings)
    catalogue.verify(movies)
    with lzma.open(ratings.path, "rt", encoding="utf-8", newline="") as file:
        rows = [(int(r["userId"]), int(r["timestamp"]), int(r["movieId"]))
                for r in csv.DictReader(file)]  # fmt: skip
    with gzip.open(movies.path, "rt", encoding="utf-8", newline="") as file:
        labels = {int(r["movieId"]): r["genres"].split("|") for r in csv.DictReader(file)}
    watched = np.array(sorted(rows))
    numbers, counts = np.unique(watched[:, 2], return_counts=True)
    kept = numbers[counts >= LEAST]
    watched = watched[np.isin(watched[:, 2], kept)]
    items = np.searchsorted(kept, watched[:, 2]) + 1
    ends = np.flatnonzero(np.diff(watched[:, 0])) + 1
    names = sorted({name for film in kept for name in labels[int(film)] if "(" not in name})
    genres = np.zeros((len(kept) + 1, len(names)), bool)
    for row, film in enumerate(kept, 1):
        genres[row] = [name in labels[int(film)] for name in names]
    return Films(tuple(np.split(items, ends)), genres, tuple(names))
