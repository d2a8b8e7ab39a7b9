"""The training state of a run of several ranks: each writes its rows, any number can read them.

``training/state-STEP-00001-of-00004.safetensors`` holds the rows of rank 1 of every tensor that has
a row a latent, and its header, under ``rows``, the number of the first and the number of all rows,
by name. What is whole on every rank is in the file of rank 0 alone. The files of a step are
complete once ``config.json`` names them with their checksums: it is written last, by rank 0, and an
earlier step's files stay until then.
"""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.ranks import Shard
from isthmus.training.journal import as_umask_says, cannot_save, located, sha256_of, synced

FOLDER, START = "training", "state-"


def part_name(step: int, rank: int, count: int) -> str:
    """The file of a rank's state at a step, relative to the run's folder."""
    return f"{FOLDER}/{START}{step:08}-{rank:05}-of-{count:05}.safetensors"


def write_part(
    folder: Path, name: str, tensors: Mapping[str, Tensor], sliced: Collection[str], shard: Shard
) -> str:
    """Write a rank's part of the state, whole or not at all, and return its SHA-256.

    Raises :class:`IsthmusError` where it cannot be written.
    """
    path = folder / name
    partial = path.with_name(f".{path.name}.partial")
    kept = {n: t for n, t in tensors.items() if n in sliced or shard.rank == 0}
    rows = {n: [shard.start, shard.width] for n in kept if n in sliced}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {n: t.detach().cpu().contiguous().clone() for n, t in kept.items()}
        save_file(content, partial, metadata={"rows": json.dumps(rows)})
        as_umask_says(partial)
        synced(partial)
        partial.replace(path)
        synced(path.parent)
        return sha256_of(path)
    except (OSError, SafetensorError) as problem:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise cannot_save(folder, problem) from problem


def drop_others(folder: Path, names: Collection[str]) -> None:
    """Remove the files of earlier steps, which no ``config.json`` names any more, and what a rank
    that was killed had begun."""
    whole = folder.glob(f"{FOLDER}/{START}*.safetensors")
    old = [path for path in whole if f"{FOLDER}/{path.name}" not in names]
    for path in (*old, *folder.glob(f"{FOLDER}/.{START}*.partial")):
        with suppress(OSError):
            path.unlink()


class StateParts:
    """The training state in some files of a run's folder, read whole or by rows."""

    def __init__(self, folder: Path, sums: Mapping[str, str]) -> None:
        self.folder = folder
        self._where: dict[str, list[tuple[int, Any]]] = {}
        """The files that hold each tensor, with the number of their first row in it."""
        self._whole: dict[str, int] = {}
        for name, checksum in sorted(sums.items()):
            self._open(located(folder, name), checksum)

    def _open(self, path: Path, checksum: str) -> None:
        try:
            if sha256_of(path) != checksum:
                raise ValueError("checksum")
            file = safe_open(path, framework="pt")
            metadata = file.metadata()  # type: ignore[no-untyped-call]
            rows = json.loads((metadata or {}).get("rows", "{}"))
        except FileNotFoundError:
            raise IsthmusError(f"{path} is missing: restore it or fit the model again") from None
        except (OSError, ValueError, SafetensorError):
            raise IsthmusError(
                f"{path} is damaged (its content does not match its checksum): restore it or fit "
                "the model again"
            ) from None
        for name in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118  (no dictionary)
            start, whole = rows.get(name, (0, -1))
            self._where.setdefault(name, []).append((start, file))
            self._whole[name] = whole

    @property
    def names(self) -> list[str]:
        """The names of all tensors."""
        return list(self._where)

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> Tensor:
        """A tensor, or its rows from ``start`` to ``stop``, whichever files they are in."""
        places = sorted(self._where[name], key=lambda place: place[0])
        if start is None and len(places) == 1:
            tensor: Tensor = places[0][1].get_tensor(name)
            return tensor.clone()
        first, last = start or 0, self._whole[name] if stop is None else stop
        pieces = []
        for offset, file in places:
            piece = file.get_slice(name)
            low, high = max(first, offset), min(last, offset + piece.get_shape()[0])
            if low < high:
                pieces.append(piece[low - offset : high - offset])
        return torch.cat(pieces)

    def all(self) -> dict[str, Tensor]:
        """Every tensor, whole."""
        return {name: self.read(name) for name in self.names}
