"""The folder of a run on disk: written as one, verified when read, never a pickle.

``config.json``
    recipe, options, signal, versions, progress, and the SHA-256 of every other file and of itself.
``model.safetensors``
    the weights to use: averaged where the run averages.
``reference.safetensors``
    a few inputs with their codes and reconstructions.
``training/state.safetensors``
    what resuming needs; of a run of several ranks in their parts (:mod:`.state_parts`), and
    ``model.safetensors`` is then written at the end only.
``metrics.jsonl``
    the log.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.training.format1 import from_format_1
from isthmus.training.journal import Writer, commit, located, sha256_of
from isthmus.training.state_parts import FOLDER, START, StateParts, drop_others

CONFIG, MODEL, REFERENCE = "config.json", "model.safetensors", "reference.safetensors"
STATE, METRICS = "training/state.safetensors", "metrics.jsonl"
FORMAT = 2


@dataclass
class Checkpoint:
    """What a folder holds. ``state`` and ``progress`` are empty for a model saved by itself.

    ``parts`` is the state where it was asked for in parts, and ``state`` then is empty.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    reference: dict[str, Tensor]
    state: dict[str, Tensor] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    parts: StateParts | None = None


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        release = version("isthmus")
    except PackageNotFoundError:
        release = "unknown"
    return {
        "isthmus": release,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def write_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    *,
    log: str | None = None,
    parts: Mapping[str, str] | None = None,
) -> None:
    """Write the folder as one (see :mod:`isthmus.training.journal`), with ``log`` where given.

    ``parts`` are files of the state that are there already, with their SHA-256.
    """
    tensors = {MODEL: checkpoint.weights, REFERENCE: checkpoint.reference}
    if not checkpoint.weights:  # of several ranks, which have not ended
        del tensors[MODEL]
    if checkpoint.state:
        tensors[STATE] = checkpoint.state
    written: dict[str, str] = dict(parts or {})

    def writer(name: str, content: Mapping[str, Tensor]) -> Writer:
        def write(path: Path) -> None:
            try:
                save_file({k: v.detach().cpu().contiguous() for k, v in content.items()}, path)
            except SafetensorError as problem:
                raise OSError(str(problem)) from problem
            written[name] = sha256_of(path)

        return write

    def write_config(path: Path) -> None:
        config = {
            "format": FORMAT,
            **checkpoint.config,
            "versions": versions(),
            "progress": checkpoint.progress,
            "sha256": written,
        }
        path.write_text(json.dumps({**config, "self": _own_hash(config)}, indent=1) + "\n")

    files: dict[str, Writer] = {name: writer(name, content) for name, content in tensors.items()}
    if log is not None:
        files[METRICS] = lambda path: path.write_text(log)
    commit(folder, {**files, CONFIG: write_config})
    drop_others(folder, written)
    if parts is not None:
        for name in {MODEL, STATE} - {*written}:
            (folder / name).unlink(missing_ok=True)


def read_config(folder: Path) -> dict[str, Any]:
    """The verified ``config.json``; an error where the folder is no checkpoint."""
    path = located(folder, CONFIG)
    try:
        config = json.loads(path.read_text())
        claimed = config.pop("self")
        fits = claimed == _own_hash(config)
    except OSError as problem:
        if os.path.exists(path):
            raise IsthmusError(f"{path} cannot be read: {problem.strerror or problem}") from None
        if not os.path.exists(folder):
            raise IsthmusError(
                f"there is no run {str(folder)!r}: isthmus fit writes one into the folder of -o"
            ) from None
        inside = os.listdir(folder) if os.path.isdir(folder) else []
        pickles = sorted(n for n in inside if n.endswith((".pt", ".pkl", ".bin")))
        if pickles:
            raise IsthmusError(
                f"{folder} holds {pickles[0]}, a pickle of another library, and no config.json: "
                "pickles can run code and are not read; convert it to safetensors first"
            ) from None
        raise IsthmusError(f"{folder} is no checkpoint: it has no config.json") from None
    except (ValueError, KeyError, AttributeError, TypeError):
        fits = False
    if not fits:
        raise IsthmusError(f"{path} is damaged or was edited: restore it or fit the model again")
    if config["format"] > FORMAT:
        raise IsthmusError(f"{folder} was written by a newer version: upgrade isthmus to read it")
    return config


def read_checkpoint(folder: Path, *, state: bool = False, parts: bool = False) -> Checkpoint:
    """Read and verify the folder; the training state only where asked for, whole or in ``parts``.

    Raises :class:`IsthmusError` for a folder that is none, or a missing, truncated or altered file.
    """
    config = read_config(folder)
    sums: dict[str, str] = config.pop("sha256")
    progress = config.pop("progress")
    pieces = {n: s for n, s in sums.items() if n == STATE or n.startswith(f"{FOLDER}/{START}")}
    if state and not pieces:
        raise IsthmusError(f"{folder} was saved without training state: it cannot be resumed")
    if not state and MODEL not in sums:
        raise IsthmusError(
            f"{folder} is a run of several ranks that has not ended, and has its weights in parts: "
            f"go on with isthmus resume {folder}"
        )

    def tensors(name: str) -> dict[str, Tensor]:
        path = located(folder, name)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != sums[name]:
                raise ValueError("checksum")
            return load_tensors(content)
        except FileNotFoundError:
            raise IsthmusError(f"{path} is missing: restore it or fit the model again") from None
        except (OSError, ValueError, KeyError, SafetensorError):
            raise IsthmusError(
                f"{path} is damaged (its content does not match its checksum): restore it or fit "
                "the model again"
            ) from None

    weights = tensors(MODEL) if MODEL in sums else {}
    in_parts = StateParts(folder, pieces) if state and (parts or STATE not in sums) else None
    training = {} if in_parts is None or parts else in_parts.all()
    if state and in_parts is None:
        training = tensors(STATE)
    reference = tensors(REFERENCE)
    if config["format"] == 1:
        from_format_1(config, progress, weights, training, reference=reference, where=str(folder))
        config["format"] = FORMAT  # as which it is written, should it be saved again
    return Checkpoint(config, weights, reference, training, progress, in_parts if parts else None)


def _own_hash(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records of a run's ``metrics.jsonl``; what follows a line that was torn is left out."""
    path = located(folder, METRICS)
    records: list[dict[str, Any]] = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(record, dict):
            break
        records.append(record)
    return records
