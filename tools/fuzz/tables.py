"""Random tables as files, from clean to damaged."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Rng = np.random.Generator
NAMES = (
    "age", "city", "Größe", "x", "y", "label", "id", "t, C", "a:b", "p=q", "-minus", "a b",
    "1", "2", "3.5", "_", "名前", "NaN", "true", "steps", "row", "x1", "x2", "x3", "très long " * 9,
)  # fmt: skip


@dataclass
class Columns:
    """A table as text cells by column, and whether it is one that has to be read rightly."""

    names: list[str]
    cells: list[list[str]]
    clean: bool
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(self.cells[0]) if self.cells else 0

    def permuted(self, rng: Rng) -> "Columns":
        """The same rows with the columns in another order."""
        order = rng.permutation(len(self.names))
        return Columns([self.names[i] for i in order], [self.cells[i] for i in order], self.clean)

    def taken(self, index: np.ndarray) -> "Columns":
        """Some of the rows."""
        return Columns(
            self.names, [[column[i] for i in index] for column in self.cells], self.clean
        )


def _every(n: int, step: int, word: str, rng: Rng) -> list[str]:
    """Numbers with a word in the place of every so many."""
    return [word if i % step == 0 else f"{v:.3f}" for i, v in enumerate(rng.normal(size=n))]


def _words(rng: Rng, n: int, *words: str) -> list[str]:
    return [words[i] for i in rng.integers(0, len(words), n)]


def _dates(rng: Rng, n: int) -> list[str]:
    days = np.datetime64("1965-01-01") + rng.integers(0, 30_000, n)
    return [str(day) for day in days]


KINDS: dict[str, Callable[[Rng, int], list[str]]] = {
    "normal": lambda rng, n: [f"{v:.4g}" for v in rng.normal(size=n)],
    "long": lambda rng, n: [repr(float(v)) for v in rng.normal(size=n) * 1e3],
    "whole": lambda rng, n: [str(v) for v in rng.integers(-5, 90, n)],
    "ids": lambda rng, n: [str(10**9 + 7 * i) for i in range(n)],
    "seconds": lambda rng, n: [f"{1.7e9 + v:.3f}" for v in rng.normal(size=n) * 500],
    "huge": lambda rng, n: [str(v) for v in rng.integers(2**60, 2**62, n)],
    "tiny": lambda rng, n: [f"{v:.3e}" for v in rng.normal(size=n) * 1e-30],
    "flags": lambda rng, n: _words(rng, n, "no", "yes"),
    "truth": lambda rng, n: _words(rng, n, "True", "False"),
    "levels": lambda rng, n: _words(rng, n, "Oslo", "Lima", "Zürich", "São Paulo"),
    "rare": lambda rng, n: ["odd" if i == n // 2 else "usual" for i in range(n)],
    "dates": _dates,
    "times": lambda rng, n: [d + "T10:30:00" for d in _dates(rng, n)],
    "constant": lambda rng, n: ["7"] * n,
}  # fmt: skip

ODD: dict[str, Callable[[Rng, int], list[str]]] = {
    "missing": lambda rng, n: [""] * n,
    "stray": lambda rng, n: _every(n, max(2, n // 2), "n.a.", rng),
    "gaps": lambda rng, n: _words(rng, n, "", "NA", "?", "nan", "1.5", "2.25", "-3"),
    "underscores": lambda rng, n: [f"{v:_}" for v in rng.integers(10**4, 10**7, n)],
    "comma": lambda rng, n: [f"{v:.2f}".replace(".", ",") for v in rng.normal(size=n)],
    "percent": lambda rng, n: [f"{v:.1f}%" for v in rng.random(n) * 100],
    "infinite": lambda rng, n: _every(n, 5, "inf", rng),
    "vast": lambda rng, n: [f"{v:.2f}e300" for v in rng.normal(size=n)],
    "overflow": lambda rng, n: [f"{v:.2f}e999" for v in rng.normal(size=n)],
    "texts": lambda rng, n: ["".join(rng.choice(list("abcdefgh \"',;|\t"), 12)) for _ in range(n)],
    "zeros": lambda rng, n: [f"{v:05d}" for v in rng.integers(0, 99, n)],
    "hex": lambda rng, n: [hex(v) for v in rng.integers(0, 999, n)],
    "spaced": lambda rng, n: [f"  {v:.3f} " for v in rng.normal(size=n)],
    "lines": lambda rng, n: ["two\nlines" if i % 7 == 0 else "one" for i in range(n)],
    "mixed": lambda rng, n: _words(rng, n, "17", "4", "x", "xyz", "2.5"),
    "thousands": lambda rng, n: [f"{v:,}" for v in rng.integers(10**4, 10**7, n)],
    "null": lambda rng, n: ["\x00a"] * n,
    "emoji": lambda rng, n: ["🦔🦔"] * n,
}  # fmt: skip


def random_columns(rng: Rng) -> Columns:
    """A table of random columns; two of three are clean."""
    clean = bool(rng.random() < 0.65)
    rows = int(rng.integers(8, 40)) if clean else int(rng.choice([0, 1, 2, 3, 9, 30]))
    number = int(rng.integers(2, 7)) if clean else int(rng.integers(0, 7))
    kinds = dict(KINDS) if clean else {**KINDS, **ODD}
    chosen = list(rng.choice(list(kinds), number))
    if clean:
        chosen[:2] = ["normal", "long"]
        names = [str(v) for v in rng.choice(["u", "v", "w", "size", "mass", "Höhe"], number, False)]
    else:
        names = [str(v) for v in rng.choice(NAMES, number)]
        if rng.random() < 0.2 and names:
            names[int(rng.integers(len(names)))] = ""
    return Columns(names, [kinds[k](rng, rows) for k in chosen], clean, chosen)


def written(table: Columns, rng: Rng, folder: Path, stem: str = "table") -> Path:
    """The table as a file: of a clean one a plain CSV, else in one of many ways, or damaged."""
    if table.clean:
        return _packed(folder, stem, _text(table, ",", True).encode("utf-8"), "")
    if rng.random() < 0.15:
        return _parquet(table, folder / f"{stem}.parquet")
    separator = str(rng.choice([",", ";", "\t", "|"]))
    text = _text(table, separator, bool(rng.random() < 0.85))
    if rng.random() < 0.1:
        text = text.replace("\n", "\n\n", 3)
    if rng.random() < 0.1:
        text = text.replace("\r\n", "\n")
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"]))
    data = text.encode(encoding, errors="replace")
    if rng.random() < 0.15 and data:
        data = _damaged(data, rng)
    packing = str(rng.choice(["", "", "", ".gz", ".bz2", ".xz", ".zip"]))
    return _packed(folder, stem, data, packing, rng)


def _text(table: Columns, separator: str, header: bool) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator)
    if header:
        writer.writerow(table.names)
    for row in zip(*table.cells, strict=True):
        writer.writerow(row)
    return buffer.getvalue()


def _damaged(data: bytes, rng: Rng) -> bytes:
    way = int(rng.integers(4))
    if way == 0:
        return data[: int(rng.integers(len(data)))]
    if way == 1:
        changed = bytearray(data)
        for _ in range(3):
            changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
        return bytes(changed)
    lines = data.split(b"\n")
    at = int(rng.integers(len(lines)))
    if way == 2:
        lines[at] += b",9,9"
    else:
        lines[at] = lines[at][: len(lines[at]) // 2]
    return b"\n".join(lines)


def _packed(folder: Path, stem: str, data: bytes, packing: str, rng: Rng | None = None) -> Path:
    ending = ".csv"
    if rng is not None and rng.random() < 0.1:
        ending = str(rng.choice([".tsv", ".txt", ".dat", ".CSV"]))
    path = folder / f"{stem}{ending}{packing}"
    openers = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    if packing == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{stem}{ending}", data)
            if rng is not None and rng.random() < 0.2:
                archive.writestr("other.csv", data)
        return path
    whole = openers[packing](data) if packing else data
    if packing and rng is not None and rng.random() < 0.2:
        whole = whole[: len(whole) // 2]
    path.write_bytes(whole)
    return path


def _parquet(table: Columns, path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = []
    for cells in table.cells:
        try:
            arrays.append(pa.array([float(cell) if cell else None for cell in cells]))
        except ValueError:
            arrays.append(pa.array([cell or None for cell in cells]))
    # Parquet itself allows columns of one name.
    pq.write_table(pa.Table.from_arrays(arrays, names=table.names), path)
    return path
