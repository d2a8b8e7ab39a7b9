"""``provenance.json`` of a store: what was harvested, from where, and which shards count."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from isthmus.activations.shards import sync_folder
from isthmus.errors import IsthmusError
from isthmus.storage import Remote

FILE = "provenance.json"
PARTS = "parts"
"""Where the parts of a store are that is harvested by several processes."""
FORMAT = 2
_SELF = b',\n "self": "'
"""The last entry: the SHA-256 of all that stands before it."""
_IN_NUMBERS = re.compile(r"(?<=[\[,])\n\s*(?=-?\d)|(?<=\d)\n\s*(?=\])")


@dataclass
class PointFacts:
    """A point of the store: its files' name, its width, and means over all tokens.

    ``axis`` is that of the features in the module's tensors, ``limit`` the largest norm of a row
    that is kept, and ``outliers`` how many elements of a row of 8 bits are kept in float32.
    """

    file: str
    width: int
    mean_norm: float = 0.0
    mean: list[float] = field(default_factory=list)
    axis: int | None = None
    limit: float | None = None
    outliers: int = 0


@dataclass
class HarvestRun:
    """One text (or source of rows) that was harvested into the store.

    ``tokens`` is how many it gives in all; how many are there already follows from the shards.
    ``checksums`` are those of its token files, in ``folder``, which is empty for rows of a source;
    these have ``hashes``, a folder with a hash of every row.
    """

    text: str
    fingerprint: str
    rows: int
    documents: int
    tokens: int
    left_out: dict[str, int]
    folder: str = ""
    checksums: dict[str, str] = field(default_factory=dict)
    hashes: str = ""


@dataclass
class Shard:
    """A folder of equally long files, the next ``tokens`` tokens of a run.

    ``dropped`` more were left out for their norm.
    """

    folder: str
    run: int
    tokens: int
    checksums: dict[str, str]
    dropped: int = 0


@dataclass
class PartFacts:
    """Which part of a store a folder holds: ``number`` of ``of``, counted from 1.

    That are the tokens from ``begin`` to ``end`` of its one run, before any is left out for its
    norm, in whole shards of which the first is number ``first`` of the store. ``batch`` is how many
    rows went through the model at once, on which the last bits depend. ``sums`` are the checksums
    of what the means are made of, by shard.
    """

    number: int
    of: int
    begin: int
    end: int
    first: int
    batch: int
    sums: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Provenance:
    """All of it. ``shard_tokens`` is the size of a full shard.

    Rows with a norm beyond ``max_norm`` times the median are left out; None keeps all. ``part`` is
    None for a whole store.
    """

    model: dict[str, Any]
    dtype: str
    skip_special: bool
    shard_tokens: int
    points: dict[str, PointFacts]
    runs: list[HarvestRun] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    max_norm: float | None = None
    part: PartFacts | None = None

    @property
    def tokens(self) -> int:
        """Tokens in the store."""
        return sum(shard.tokens for shard in self.shards)

    def done(self, run: int) -> int:
        """Tokens of a run that have been dealt with: stored, or left out for their norm.

        Those before a part count as such.
        """
        before = 0 if self.part is None else self.part.begin
        return before + sum(s.tokens + s.dropped for s in self.shards if s.run == run)

    def traits(self) -> dict[str, Any]:
        """What has to be the same for tokens to be in one store, by what it is."""
        return {
            "model": self.model["name"],
            "weights": self.model["revision"],
            "dtype of the host": self.model.get("dtype", "float32"),
            "points": ", ".join(f"{p} of width {f.width}" for p, f in self.points.items()),
            "dtype": self.dtype,
            "skip_special": self.skip_special,
            "max_norm": self.max_norm,
        }

    def offsets(self) -> Iterator[tuple[int, int]]:
        """Rows and documents before each run."""
        rows = documents = 0
        for run in self.runs:
            yield rows, documents
            rows, documents = rows + run.rows, documents + run.documents


def write(folder: Path, provenance: Provenance, notes: dict[str, str]) -> None:
    """Replace the file, whole or not at all."""
    plain = {
        "format": FORMAT,
        "tokens": provenance.tokens,
        **asdict(provenance),
        "notes": notes,
    }
    if provenance.part is None:
        del plain["part"]
    # Lists of numbers on one line; a string of JSON holds no line break that this could touch.
    text = _IN_NUMBERS.sub("", json.dumps(plain, indent=1)).removesuffix("\n}").encode()
    content = text + _SELF + _sha256(text) + b'"\n}\n'
    partial = folder / (FILE + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / FILE)
    sync_folder(folder)


def read(folder: Path | Remote) -> Provenance:
    """The verified file; an :class:`IsthmusError` where the folder is no store."""
    path = f"{folder}/{FILE}"
    try:
        content = folder.read(FILE) if isinstance(folder, Remote) else Path(path).read_bytes()
        text, _, claimed = content.rpartition(_SELF)
        if claimed != _sha256(text) + b'"\n}\n':
            raise ValueError("hash")
        plain = json.loads(content)
        newer = plain["format"] > FORMAT
    except FileNotFoundError:
        if isinstance(folder, Path) and (folder / PARTS).is_dir():
            raise IsthmusError(
                f"{folder} holds parts of a store: harvest those that are missing, then run "
                f"isthmus store merge {folder}"
            ) from None
        raise IsthmusError(
            f"{folder} is no store of activations (it has no {FILE}): make one with isthmus harvest"
        ) from None
    except IsthmusError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise IsthmusError(
            f"{path} is damaged, was edited or is no store's: delete {folder} and harvest again"
        ) from None
    if newer:
        raise IsthmusError(f"{folder} was written by a newer version: upgrade isthmus to read it")
    return Provenance(
        plain["model"],
        plain["dtype"],
        plain["skip_special"],
        plain["shard_tokens"],
        {name: PointFacts(**point) for name, point in plain["points"].items()},
        [HarvestRun(**run) for run in plain["runs"]],
        [Shard(**shard) for shard in plain["shards"]],
        plain["versions"],
        plain.get("max_norm"),
        PartFacts(**plain["part"]) if plain.get("part") else None,
    )


def _sha256(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
