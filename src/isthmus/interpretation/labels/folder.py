"""Windows from a features folder, latents in blocks, so that memory does not grow with them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels.table import _arrow, features_folder
from isthmus.interpretation.labels.windows import SILENT, Windows

WINDOWS = "windows.parquet"
"""Random windows with the latents that fire in each; without it, windows of other latents serve.

Columns: row, begin int32; tokens list<string>; latents list<int32> (all that fire anywhere in the
window); split int8 (that of the row in examples.parquet).
"""

BLOCK = 512
"""Latents that are read at once."""

POOL = 768
"""Windows in which others are silent, of each split, where they come from the examples."""


def explained_latents(folder: str | Path, latents: Sequence[int] | None) -> list[int]:
    """The latents with examples, or those of ``latents`` that have some.

    Checks that the splits share no row; none at all is an error.
    """
    table = read_table(features_folder(folder) / "examples.parquet", ["latent", "row", "split"])
    latent, row, split = (_numbers(table, name) for name in ("latent", "row", "split"))
    apart(row, split)
    known = np.unique(latent)
    if latents is None:
        return known.tolist()
    found = sorted(set(latents) & set(known.tolist()))
    if not found:
        first = min(latents, default=0)
        raise IsthmusError(
            f"latent {first} has no examples in {folder}: name latents that fire in the text"
        )
    return found


def apart(row: np.ndarray, split: np.ndarray) -> None:
    """Raise unless no row of text has windows both for the explainer and for scoring."""
    shared = np.intersect1d(row[split == 0], row[split == 1])
    if len(shared):
        raise IsthmusError(
            f"row {shared[0]} of the text is both in the explainer's and in the scoring part: "
            "find the features again, so that scores are of text that the explainer never saw"
        )


def blocks(
    folder: str | Path, latents: Sequence[int], seed: int = 0, size: int = BLOCK
) -> Iterator[tuple[list[int], Windows]]:
    """Some latents at a time with their windows; each block has the same silent windows too."""
    path = features_folder(folder)
    pool, exact = _pool(path, seed)
    for begin in range(0, len(latents), size):
        some = list(latents[begin : begin + size])
        low, high = some[0], some[-1]
        chosen = [("latent", ">=", low), ("latent", "<=", high)]
        own = read_table(path / "examples.parquet", list(_OWN), chosen)
        wanted = np.isin(_numbers(own, "latent"), some)
        yield some, _windows(own.filter(wanted), pool, exact)


_OWN = ("latent", "group", "row", "begin", "tokens", "values", "split")


def _windows(own: Any, pool: Any, exact: bool) -> Windows:
    pa, _ = _arrow()
    tables = [own.select(["row", "begin", "tokens", "split"])]
    tables.append(pool.select(["row", "begin", "tokens", "split"]))
    whole = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    tokens = whole["tokens"].combine_chunks()
    tokens = tokens.chunk(0) if isinstance(tokens, pa.ChunkedArray) else tokens
    coded = tokens.flatten().dictionary_encode()
    length = tokens.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    if not length.all():
        raise IsthmusError(
            "these features have examples without text: labels need features of a text"
        )
    start = np.concatenate([[0], np.cumsum(length, dtype=np.int64)])
    values = own["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if len(values) != start[len(own)]:
        raise IsthmusError(
            "examples.parquet has windows with more values than tokens or fewer: find the "
            "features again"
        )
    silent = np.zeros(start[-1] - len(values), dtype=np.float32)
    none = np.full(len(pool), SILENT, dtype=np.int64)
    fired: list[np.ndarray | None] = [None] * len(own)
    fired += [np.array(x, dtype=np.int64) for x in pool["latents"].to_pylist()]
    return Windows(
        vocabulary=coded.dictionary.to_pylist(),
        token=coded.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        value=np.concatenate([values.astype(np.float32), silent]),
        start=start,
        latent=np.concatenate([_numbers(own, "latent"), none]),
        group=np.concatenate([_numbers(own, "group"), none]),
        row=_numbers(whole, "row"),
        begin=_numbers(whole, "begin"),
        split=_numbers(whole, "split"),
        fired=fired,
        exact=exact,
    )


def _pool(path: Path, seed: int) -> tuple[Any, bool]:
    """Windows to be silent in, with the latents that fire in each as far as that is known."""
    if (path / WINDOWS).exists():
        pool = read_table(path / WINDOWS, ["row", "begin", "tokens", "latents", "split"])
        examples = read_table(path / "examples.parquet", ["row", "split"])
        apart(
            np.concatenate([_numbers(pool, "row"), _numbers(examples, "row")]),
            np.concatenate([_numbers(pool, "split"), _numbers(examples, "split")]),
        )
        return pool, True
    pa, pq = _arrow()
    keys = read_table(path / "examples.parquet", ["row", "split"])
    row, split = _numbers(keys, "row"), _numbers(keys, "split")
    rng = np.random.default_rng((seed, 15))
    chosen = np.zeros(len(row), dtype=bool)
    # One window a row: windows of many latents lie on the same text.
    order = rng.permutation(len(row))
    order = order[np.sort(np.unique(row[order], return_index=True)[1])]
    for part in (0, 1):
        chosen[order[split[order] == part][:POOL]] = True
    kept, done = [], 0
    columns = ["latent", "row", "begin", "tokens", "split"]
    with pq.ParquetFile(path / "examples.parquet") as file:
        for batch in file.iter_batches(batch_size=2**14, columns=columns):
            kept.append(batch.filter(pa.array(chosen[done : done + len(batch)])))
            done += len(batch)
    pool = pa.Table.from_batches(kept)
    fired = pa.array([[x] for x in pool["latent"].to_pylist()], type=pa.list_(pa.int32()))
    return pool.append_column("latents", fired).drop_columns(["latent"]), False


def read_table(path: Path, columns: list[str], filters: Any = None) -> Any:
    """Some columns of a Parquet file; an error that names it where it cannot be read."""
    _, pq = _arrow()
    try:
        return pq.read_table(path, columns=columns, filters=filters)
    except (OSError, ValueError, KeyError) as problem:
        raise IsthmusError(f"cannot read {path} ({problem}): find the features again") from None


def _numbers(table: Any, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(), dtype=np.int64)
