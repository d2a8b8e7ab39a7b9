"""Windows of text with a latent's values, many at once, as they are read from a features folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.interpretation.features.format import (
    AGAIN,
    EXAMPLES,
    LATENTS,
    WINDOWS,
    arrow,
    features_folder,
    read_table,
)

if TYPE_CHECKING:
    from pyarrow import Table

SILENT = -1
"""The latent of a window that is shown because others are silent in it."""

EXPLAINING, SCORING = 0, 1
"""Parts of the rows: for the explainer, and for scoring."""

BLOCK = 512
"""Latents that are read at once."""

POOL = 768
"""Windows in which others are silent, of each split, where they come from the examples."""


@dataclass(frozen=True, eq=False)
class Windows:
    """``N`` windows with ``T`` tokens in all.

    ``vocabulary`` holds the distinct texts of tokens and ``token`` ``(T,)`` their numbers;
    ``value`` ``(T,)`` is the activation at each token of the window's own latent, which fires where
    that is not zero; window ``i`` has
    the tokens ``start[i]`` to ``start[i + 1]``. The rest is ``(N,)``: ``latent`` (or SILENT),
    ``group`` (0 = strongest examples, 1 to 10 = deciles of the nonzero activations), ``row`` and
    ``begin`` (the row of text and the place in it of the first token), ``split``.
    ``fired`` lists for each window of latent SILENT the latents that fire in it, else None.
    """

    vocabulary: list[str]
    token: np.ndarray
    value: np.ndarray
    start: np.ndarray
    latent: np.ndarray
    group: np.ndarray
    row: np.ndarray
    begin: np.ndarray
    split: np.ndarray
    fired: Sequence[np.ndarray | None]
    exact: bool = True
    """Whether ``fired`` is complete; else it names only the latent that a window is from."""

    def __len__(self) -> int:
        return len(self.latent)

    @cached_property
    def length(self) -> np.ndarray:
        """Tokens of each window ``(N,)``."""
        return np.diff(self.start)

    def texts(self, window: int) -> list[str]:
        """The tokens of one window."""
        return [self.vocabulary[t] for t in self.token[self.start[window] : self.start[window + 1]]]

    def values(self, window: int) -> np.ndarray:
        """The activations of one window, one for each token."""
        return self.value[self.start[window] : self.start[window + 1]]

    def places(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the tokens of some windows lie ``(t,)``, and where each window starts in that."""
        length = self.length[windows]
        starts = np.concatenate([[0], np.cumsum(length)])
        shift = np.repeat(self.start[:-1][windows] - starts[:-1], length)
        return np.arange(starts[-1]) + shift, starts[:-1]

    @cached_property
    def of_latent(self) -> dict[int, np.ndarray]:
        """The windows of each latent, in their order here."""
        order = np.argsort(self.latent, kind="stable")
        latents, first = np.unique(self.latent[order], return_index=True)
        parts = np.split(order, first[1:])
        return {int(x): part for x, part in zip(latents, parts, strict=True)}

    def text_key(self, window: int) -> bytes:
        """Equal for two windows exactly if their texts are, token by token."""
        return self.token[self.start[window] : self.start[window + 1]].tobytes()


def explained_latents(folder: str | Path, latents: Sequence[int] | None) -> list[int]:
    """The latents with examples, or those of ``latents`` that have some.

    Checks that the splits share no row; none at all is an error.
    """
    table = read_table(features_folder(folder) / EXAMPLES, ["latent", "row", "split"])
    latent, row, split = (_numbers(table, name) for name in ("latent", "row", "split"))
    check_apart(row, split)
    present = np.unique(latent)
    if latents is None:
        return present.tolist()
    explained = sorted(set(latents) & set(present.tolist()))
    if not explained:
        first = min(latents, default=0)
        raise IsthmusError(
            f"latent {first} has no examples in {folder}: name latents that fire in the text"
        )
    return explained


def firing_rates(folder: Path) -> dict[int, float]:
    """The share of tokens on which each latent fires, as far as the folder says it."""
    if not (folder / LATENTS).exists():
        return {}
    table = read_table(folder / LATENTS, ["latent", "rate"])
    return dict(zip(table["latent"].to_pylist(), table["rate"].to_pylist(), strict=True))


def check_apart(row: np.ndarray, split: np.ndarray) -> None:
    """Raise unless no row of text has windows both for the explainer and for scoring."""
    shared = np.intersect1d(row[split == EXPLAINING], row[split == SCORING])
    if len(shared):
        raise IsthmusError(
            f"row {shared[0]} of the text is both in the explainer's and in the scoring part: "
            f"{AGAIN}, so that scores are of text that the explainer never saw"
        )


def read_windows(
    folder: str | Path, latents: Sequence[int], seed: int = 0, size: int = BLOCK
) -> Iterator[tuple[list[int], Windows]]:
    """Some latents at a time with their windows; each block has the same silent windows too.

    Memory does not grow with the number of latents.
    """
    path = features_folder(folder)
    pool, exact = _pool(path, seed)
    columns = ["latent", "group", "row", "begin", "tokens", "values", "split"]
    for begin in range(0, len(latents), size):
        some = list(latents[begin : begin + size])
        low, high = some[0], some[-1]
        between = [("latent", ">=", low), ("latent", "<=", high)]
        examples = read_table(path / EXAMPLES, columns, between)
        mask = arrow().array(np.isin(_numbers(examples, "latent"), some))
        yield some, _windows(examples.filter(mask), pool, exact)


def _windows(examples: "Table", pool: "Table", exact: bool) -> Windows:
    """The examples of some latents, and the windows in which others may be silent."""
    pa = arrow()
    places = ["row", "begin", "tokens", "split"]
    tables = [examples.select(places), pool.select(places)]
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
    values = examples["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if len(values) != start[len(examples)]:
        raise IsthmusError(f"{EXAMPLES} has windows with more values than tokens or fewer: {AGAIN}")
    silent = np.zeros(start[-1] - len(values), dtype=np.float32)
    nobody = np.full(len(pool), SILENT, dtype=np.int64)
    fired: list[np.ndarray | None] = [None] * len(examples)
    fired += [np.array(x, dtype=np.int64) for x in pool["latents"].to_pylist()]
    return Windows(
        vocabulary=coded.dictionary.to_pylist(),
        token=coded.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        value=np.concatenate([values.astype(np.float32), silent]),
        start=start,
        latent=np.concatenate([_numbers(examples, "latent"), nobody]),
        group=np.concatenate([_numbers(examples, "group"), nobody]),
        row=_numbers(whole, "row"),
        begin=_numbers(whole, "begin"),
        split=_numbers(whole, "split"),
        fired=fired,
        exact=exact,
    )


def _pool(path: Path, seed: int) -> "tuple[Table, bool]":
    """Windows to be silent in with the latents that fire in each, and whether those are all.

    The random windows of the text; where the folder has none, examples of other latents.
    """
    keys = read_table(path / EXAMPLES, ["row", "split"])
    row, split = _numbers(keys, "row"), _numbers(keys, "split")
    if (path / WINDOWS).exists():
        pool = read_table(path / WINDOWS, ["row", "begin", "tokens", "latents", "split"])
        check_apart(
            np.concatenate([_numbers(pool, "row"), row]),
            np.concatenate([_numbers(pool, "split"), split]),
        )
        return pool, True
    pa = arrow()
    rng = np.random.default_rng((seed, 15))
    mask = np.zeros(len(row), dtype=bool)
    # One window a row: windows of many latents lie on the same text.
    order = rng.permutation(len(row))
    order = order[np.sort(np.unique(row[order], return_index=True)[1])]
    for part in (EXPLAINING, SCORING):
        mask[order[split[order] == part][:POOL]] = True
    batches, start = [], 0
    columns = ["latent", "row", "begin", "tokens", "split"]
    with pa.parquet.ParquetFile(path / EXAMPLES) as file:
        for batch in file.iter_batches(batch_size=2**14, columns=columns):
            batches.append(batch.filter(pa.array(mask[start : start + len(batch)])))
            start += len(batch)
    pool = pa.Table.from_batches(batches)
    fired = pa.array([[x] for x in pool["latent"].to_pylist()], type=pa.list_(pa.int32()))
    return pool.append_column("latents", fired).drop_columns(["latent"]), False


def _numbers(table: "Table", name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(), dtype=np.int64)
