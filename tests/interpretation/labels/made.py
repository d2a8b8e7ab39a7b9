"""Small features folders: text of a made language and latents that fire where a test says."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

NOUNS = ["king", "ship", "house", "stone", "garden", "letter"]
VERBS = ["saw", "took", "wanted", "sang", "counting", "running", "finding"]
ARTICLES = ["the", "a", "of", "in"]
ENDS = [".", ",", "\n", "!"]

TYPES = {
    "latent": pa.int32(), "group": pa.int8(), "document": pa.int32(), "row": pa.int32(),
    "place": pa.int32(), "value": pa.float32(), "begin": pa.int32(),
    "tokens": pa.list_(pa.string()), "values": pa.list_(pa.float32()), "split": pa.int8(),
}  # fmt: skip


def language(rows: int, context: int, seed: int = 0) -> list[list[str]]:
    """Rows of tokens: words with a space, some cut in two pieces, and marks."""
    rng = np.random.default_rng(seed)
    text = []
    for _ in range(rows):
        row: list[str] = []
        while len(row) < context:
            kind = rng.random()
            words = ARTICLES if kind < 0.3 else NOUNS if kind < 0.6 else VERBS
            word = str(rng.choice(words)) if kind < 0.85 else str(rng.choice(ENDS))
            if kind >= 0.85:
                row.append(word)
            elif kind > 0.78 and len(word) > 4:
                row += [" " + word[:3].capitalize(), word[3:]]
            else:
                row.append(" " + word)
        text.append(row[:context])
    return text


def folder(
    where: Path,
    fires: Sequence[Callable[[list[str], int], float]],
    *,
    rows: int = 120,
    context: int = 40,
    length: int = 16,
    each: int = 4,
    seed: int = 0,
    contexts: int = 200,
    split: Callable[[int], int] = lambda row: row % 2,
) -> Path:
    """A features folder of latents given as functions of a row's tokens and a place.

    ``contexts`` is the number of random windows with all that fires in them; 0 for no such file.
    """
    rng = np.random.default_rng(seed)
    text = language(rows, context, seed)
    values = np.array([[[f(row, p) for p in range(context)] for row in text] for f in fires])
    examples: dict[str, list] = {name: [] for name in TYPES}

    def add(latent: int, group: int, row: int, place: int) -> None:
        begin = min(max(0, place - length + 4), context - length)
        part = slice(begin, begin + length)
        for name, value in {
            "latent": latent, "group": group, "document": row // 4, "row": row, "place": place,
            "value": values[latent, row, place], "begin": begin, "tokens": text[row][part],
            "values": values[latent, row, part].tolist(), "split": split(row),
        }.items():  # fmt: skip
            examples[name].append(value)

    for latent, active in enumerate(values):
        where_on = np.argwhere(active > 0)
        order = where_on[np.argsort(active[active > 0], kind="stable")]
        for row, place in order[::-1][:6]:
            add(latent, 0, int(row), int(place))
        for group, part in enumerate(np.array_split(order, 10), 1):
            for row, place in rng.permutation(part)[:each]:
                add(latent, group, int(row), int(place))
    where.mkdir(parents=True, exist_ok=True)
    write(where / "examples.parquet", examples, TYPES)
    rate = (values > 0).mean(axis=(1, 2)).tolist()
    latents = {"latent": list(range(len(fires))), "rate": rate}
    write(where / "latents.parquet", latents, {"latent": pa.int32(), "rate": pa.float32()})
    if contexts:
        random: dict[str, list] = {name: [] for name in CONTEXTS}
        for _ in range(contexts):
            row = int(rng.integers(rows))
            begin = int(rng.integers(context - length + 1))
            part = slice(begin, begin + length)
            random["row"].append(row)
            random["begin"].append(begin)
            random["tokens"].append(text[row][part])
            random["latents"].append(np.flatnonzero((values[:, row, part] > 0).any(1)).tolist())
            random["split"].append(split(row))
        write(where / "windows.parquet", random, CONTEXTS)
    return where


CONTEXTS = {
    "row": pa.int32(), "begin": pa.int32(), "tokens": pa.list_(pa.string()),
    "latents": pa.list_(pa.int32()), "split": pa.int8(),
}  # fmt: skip


def write(path: Path, columns: dict[str, list], types: dict[str, pa.DataType]) -> None:
    parquet.write_table(pa.table({n: pa.array(columns[n], type=t) for n, t in types.items()}), path)


def word(*words: str) -> Callable[[list[str], int], float]:
    """Fires on words, more strongly later in the row."""
    return lambda row, place: (1 + place / 10) * (row[place].strip().lower() in words)


def after(word: str) -> Callable[[list[str], int], float]:
    return lambda row, place: 2.0 * (place > 0 and row[place - 1] == word)


def ending(suffix: str) -> Callable[[list[str], int], float]:
    def fires(row: list[str], place: int) -> float:
        text = row[place].strip()
        return 1.0 * (text.endswith(suffix) and len(text) > len(suffix))

    return fires


def chance(rate: float, seed: int) -> Callable[[list[str], int], float]:
    """Fires on a fixed share of places that has nothing to do with the text."""
    rng = np.random.default_rng(seed)
    return lambda row, place: float(rng.random() < rate)
