"""The folder of features: its files and columns, how it is written and how it is read.

``features/`` beside a run holds ``about.json`` (of which model, point and text the features are,
and how they were found) and three tables: of latents, of examples, and of random windows of the
text. Everybody who writes or reads one of these files does so by what is said here.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import IsthmusError, MissingExtra, unknown

if TYPE_CHECKING:
    from pyarrow import Schema, Table

FORMAT = 1
FOLDER, ABOUT = "features", "about.json"
LATENTS, EXAMPLES, WINDOWS = "latents.parquet", "examples.parquet", "windows.parquet"
FILES = {"latents": LATENTS, "examples": EXAMPLES, "windows": WINDOWS}

LIST = "list of "

COLUMNS: dict[str, dict[str, str]] = {
    "latents": {
        "latent": "int32", "rate": "float32", "mean": "float32", "top": "float32",
        "histogram": LIST + "float32", "histogram_low": "float32", "histogram_high": "float32",
        "tokens": LIST + "string", "token_shares": LIST + "float32",
        "up": LIST + "string", "up_values": LIST + "float32",
        "down": LIST + "string", "down_values": LIST + "float32",
        "near": LIST + "int32", "near_cosine": LIST + "float32",
        "joint": LIST + "int32", "joint_value": LIST + "float32",
        "x": "float32", "y": "float32", "norm": "float32",
    },
    "examples": {
        "latent": "int32", "group": "int8", "document": "int32", "row": "int32",
        "place": "int32", "value": "float32", "begin": "int32",
        "tokens": LIST + "string", "values": LIST + "float32", "split": "int8",
    },
    "windows": {
        "document": "int32", "row": "int32", "place": "int32", "begin": "int32",
        "tokens": LIST + "string", "latents": LIST + "int32", "split": "int8",
    },
}  # fmt: skip
"""The columns of each table and their types.

``group`` is 0 for a latent's strongest examples, else the decile (10 the strongest); ``split`` is
0 for rows of text that an explainer may see, 1 for those to score it on; ``begin`` is the place of
the first token that is shown. A random window names all ``latents`` that fire anywhere in it.
"""

GROUP = 1024
"""Latents whose examples are written together, as one group of rows."""


def arrow() -> Any:
    """The module pyarrow; an error that says how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "tables", "storing and reading features") from None
    return pyarrow


def schema(columns: Mapping[str, str]) -> "Schema":
    """Columns by name and type as a schema of pyarrow."""
    pa = arrow()

    def kind(name: str) -> Any:
        if name.startswith(LIST):
            return pa.list_(kind(name.removeprefix(LIST)))
        return pa.type_for_alias(name)

    return pa.schema({name: kind(of) for name, of in columns.items()})


# --- written ----------------------------------------------------------------------------------


def check_free(out: Path, overwrite: bool) -> None:
    """An error where ``out`` holds features already, before any work is done for nothing."""
    arrow()
    if (out / FOLDER).exists() and not overwrite:
        raise IsthmusError(
            f"{out / FOLDER} holds features already: pass overwrite=True to replace them, and "
            "their labels with them"
        )


def write_features(
    out: Path,
    latents: "Table",
    examples: Iterable["Table"],
    windows: "Table | None",
    about: Mapping[str, Any],
) -> Path:
    """Write the tables and ``about`` as a whole or not at all; returns the folder ``out/features``.

    ``examples`` come piece by piece, each with those of :data:`GROUP` latents, in their order.
    """
    pa = arrow()
    options = {"compression": "zstd"}
    with _replaced(out / FOLDER) as folder:
        pa.parquet.write_table(latents, folder / LATENTS, **options)
        columns = schema(COLUMNS["examples"])
        with pa.parquet.ParquetWriter(folder / EXAMPLES, columns, **options) as writer:
            for piece in examples:
                writer.write_table(piece)
        if windows is not None:
            pa.parquet.write_table(windows, folder / WINDOWS, **options)
        whole = json.dumps({"format": FORMAT, **about}, indent=1)
        (folder / ABOUT).write_text(whole + "\n", encoding="utf-8")
    return out / FOLDER


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``folder`` at the end, or vanishes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        # What tempfile makes is for its owner alone.
        fresh.chmod(0o777 & ~_umask())
        yield fresh
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            os.replace(folder, old)
            os.replace(fresh, folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- read -------------------------------------------------------------------------------------


def features_folder(folder: str | Path) -> Path:
    """The folder with the features: ``folder`` itself, or ``features`` in the folder of a run."""
    folder = Path(folder)
    for place in (folder, folder / FOLDER):
        if (place / EXAMPLES).exists():
            return place
    raise IsthmusError(
        f"{folder} has no features ({FOLDER}/{EXAMPLES}): isthmus report {folder} finds those of "
        "a dictionary on a language model's activations"
    )


def read_about(folder: Path) -> dict[str, Any]:
    """What ``about.json`` says; an error where it is missing, damaged or of a newer version."""
    path = folder / ABOUT
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = int(about["format"])
    except FileNotFoundError:
        raise IsthmusError(f"{path} is missing: compute the features again") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise IsthmusError(f"{path} is damaged: compute the features again") from None
    if version != FORMAT:
        raise IsthmusError(
            f"{path} was written by {'a newer' if version > FORMAT else 'another'} version, in "
            f"format {version}, and this one reads {FORMAT}: upgrade isthmus to read it, or "
            "compute the features again"
        )
    return about


AGAIN = "compute the features again"


def read_table(
    path: Path,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    *,
    remedy: str = AGAIN,
) -> "Table":
    """Some columns of a Parquet file; an error that names it where it cannot be read.

    ``filters`` are those of ``pyarrow.parquet.read_table``; ``remedy`` ends the error.
    """
    pa = arrow()
    try:
        names = pa.parquet.read_schema(path).names
        selection = names if columns is None else list(columns)
        missing = [name for name in selection if name not in names]
        if not missing:
            return pa.parquet.read_table(path, columns=selection, filters=filters)
    except FileNotFoundError:
        raise IsthmusError(f"{path} is missing: {remedy}") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as problem:
        why = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise IsthmusError(f"{path} is damaged ({why}): {remedy}") from problem
    raise IsthmusError(f"{path} has no column {missing[0]!r}: {remedy}")


@dataclass(frozen=True)
class Lists:
    """Lists of one column behind one another: list ``i`` is ``flat[start[i]:start[i + 1]]``.

    Strings are numbers in ``words``, which then is not empty.
    """

    flat: np.ndarray
    start: np.ndarray
    words: list[str]

    def __getitem__(self, i: int) -> np.ndarray:
        return self.flat[self.start[i] : self.start[i + 1]]

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.start)

    def taken(self, index: np.ndarray) -> "Lists":
        """The lists of these numbers, in that order."""
        lengths = self.lengths[index]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(start[-1]) + np.repeat(self.start[index] - start[:-1], lengths)
        return Lists(self.flat[places], start, self.words)


def read_columns(
    path: Path,
    columns: Mapping[str, str],
    dtypes: Mapping[str, str] | None = None,
    *,
    remedy: str = AGAIN,
) -> dict[str, Any]:
    """Columns of a Parquet file, by name and type as in :data:`COLUMNS`, in NumPy.

    Numbers are arrays, int64 or float64 unless ``dtypes`` names another for a column, lists are
    :class:`Lists`, and text is a Python list, with None where there is none. Missing numbers are
    NaN, or -1 where they are integers. A missing or damaged file, or one without one of the
    columns, is an :class:`IsthmusError`.
    """
    table = read_table(path, list(columns), remedy=remedy)
    arrays: dict[str, Any] = {}
    for name, kind in columns.items():
        column = table.column(name).combine_chunks()
        element = kind.removeprefix(LIST)
        wide = "string" if element == "string" else f"{element.rstrip('0123456789')}64"
        dtype = (dtypes or {}).get(name, wide)
        arrays[name] = (_lists if kind.startswith(LIST) else _plain)(column, dtype)
    return arrays


def _plain(column: Any, dtype: str) -> Any:
    if dtype == "string":
        return column.to_pylist()
    import pyarrow.compute as pc

    filled = column if dtype.startswith("float") else pc.fill_null(column, -1)
    return filled.to_numpy(zero_copy_only=False).astype(dtype)


def _lists(column: Any, dtype: str) -> Lists:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = column.flatten()
    if dtype != "string":
        return Lists(flat.to_numpy(zero_copy_only=False).astype(dtype), start, [])
    if not pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_encode()
    flat = flat.combine_chunks() if hasattr(flat, "combine_chunks") else flat
    index = pc.fill_null(flat.indices, 0).to_numpy(zero_copy_only=False).astype(np.int32)
    return Lists(index, start, [str(word) for word in flat.dictionary.to_pylist()])


# --- as objects -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """An activation of a latent with the text around it.

    ``group`` is 0 for the strongest, else the decile (10 the strongest); ``value`` the activation,
    at ``place`` of ``row``. ``tokens`` are shown from the place ``begin`` on, ``values`` are the
    latent's at each (to three digits, ``value`` in full). ``split`` is 0 where an explainer may see
    it, 1 where it is for scoring. Without a text there are no tokens.
    """

    latent: int
    group: int
    document: int
    row: int
    place: int
    value: float
    begin: int
    tokens: list[str]
    values: list[float]
    split: int


@dataclass(frozen=True)
class Features:
    """A folder of features. Tables are read when they are asked for.

    ``about`` says of which model, point and text they are, and how they were found.
    """

    folder: Path
    about: dict[str, Any]

    def __len__(self) -> int:
        """Number of latents."""
        return int(self.about["latents"])

    def table(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        latents: Sequence[int] | None = None,
    ) -> "Table":
        """``latents``, ``examples`` or ``windows`` as a pyarrow table.

        Only some columns, and of the first two only the rows of some latents, where they are given.
        """
        if name not in FILES:
            raise unknown("table of features", name, FILES)
        for column in columns or ():
            if column not in COLUMNS[name]:
                raise unknown("column of features", column, COLUMNS[name])
        if name == "windows" and not (self.folder / WINDOWS).exists():
            raise IsthmusError(
                f"{self.folder} has no {WINDOWS}: features without a text have no windows, and "
                "others have to be computed anew"
            )
        row_filters = None if latents is None else [("latent", "in", [int(j) for j in latents])]
        return read_table(self.folder / FILES[name], columns, row_filters)

    def column(self, name: str) -> np.ndarray:
        """One number of each latent, ``(latents,)``: ``rate``, ``mean``, ``top``, ``x``, ..."""
        column: np.ndarray = self.table("latents", [name]).column(name).to_numpy()
        return column

    def latent(self, number: int) -> dict[str, Any]:
        """All columns of one latent."""
        self._there(number)
        row: dict[str, Any] = self.table("latents", latents=[number]).to_pylist()[0]
        return row

    def examples(self, number: int) -> list[Example]:
        """The examples of one latent, by group and falling strength."""
        self._there(number)
        return [Example(**row) for row in self.table("examples", latents=[number]).to_pylist()]

    def _there(self, number: int) -> None:
        if not 0 <= number < len(self):
            raise IsthmusError(
                f"there is no latent {number}: these features are of latents 0 to {len(self) - 1}"
            )


def read_features(folder: str | Path) -> Features:
    """The features in a folder, or in the run that it is in; an error where there are none."""
    folder = Path(folder)
    place = folder if (folder / ABOUT).exists() else folder / FOLDER
    if not (place / ABOUT).exists():
        raise IsthmusError(
            f"{folder} holds no features: compute them with isthmus.interpretation.source_features "
            "(or text_features)"
        )
    return Features(place, read_about(place))
