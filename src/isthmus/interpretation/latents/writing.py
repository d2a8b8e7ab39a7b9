"""The folder of features, written as a whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.interpretation.latents.collected import Collected
from isthmus.interpretation.latents.settings import Settings
from isthmus.interpretation.latents.shown import Text
from isthmus.interpretation.latents.tables import (
    arrow,
    example_schema,
    example_table,
    latent_table,
    window_table,
)

FOLDER, ABOUT = "features", "about.json"
LATENTS, EXAMPLES, WINDOWS = "latents.parquet", "examples.parquet", "windows.parquet"
FORMAT = 1

PIECE = 1024
"""Latents whose examples are written together, as one group of rows."""


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
    collected: Collected,
    rows: Tensor | None,
    text: Text | None,
    settings: Settings,
    about: Mapping[str, Any],
) -> Path:
    """Write the tables and ``about``; returns the folder ``out/features``."""
    pa = arrow()
    options = {"compression": "zstd"}
    with _replaced(out / FOLDER) as folder:
        table = latent_table(collected, rows, text, settings)
        pa.parquet.write_table(table, folder / LATENTS, **options)
        with pa.parquet.ParquetWriter(folder / EXAMPLES, example_schema(), **options) as writer:
            for start in range(0, collected.latents, PIECE):
                some = np.arange(start, min(start + PIECE, collected.latents))
                writer.write_table(example_table(collected, some, text, settings))
        if text is not None:
            table = window_table(collected, text, settings)
            pa.parquet.write_table(table, folder / WINDOWS, **options)
        whole = {"format": FORMAT, **about, **_estimators(collected)}
        (folder / ABOUT).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return out / FOLDER


def _estimators(collected: Collected) -> dict[str, Any]:
    """How the figures were found, where more than one way is possible."""
    joint, mass = collected.joint, collected.mass
    lost = float((mass.lost / np.maximum(1e-30, mass.total)).max(initial=0.0))
    return {
        "joint": f"phi over {joint.tokens:,} tokens"
        + (" (all)" if joint.share == 1 else f", a uniform sample ({joint.share:g})"),
        "token_shares": "exact"
        if lost == 0
        else f"heaviest tokens kept; shares too small by at most {lost:.3g}",
        "deciles": "of all nonzero activations; examples are a uniform sample of each",
    }


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
