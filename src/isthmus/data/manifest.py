"""The manifest of a folder of data sets: its files, what they are, how they are read.

``manifest.json`` is a list of ``{"what", "licence", "citation", "files": [{"path", "sha256",
"read"?}, ...]}``; see docs/data.md. ``read`` may be left out where the library knows the file, or
where its ending and its members say enough.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from isthmus.data.layouts import Layout, layout_of
from isthmus.errors import IsthmusError

NAME = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """One file of a manifest: ``file`` is its path in the folder, ``path`` its path."""

    name: str
    path: Path
    file: str
    sha256: str
    licence: str
    citation: str
    description: str
    layout: Layout | None = None


def set_name(file: str) -> str:
    """The name of the set in that file: its stem, with the folders inside the first one."""
    path = PurePosixPath(file)
    return "/".join([*path.parts[1:-1], path.name.split(".")[0]])


def entries(folder: Path, remedy: str) -> dict[str, Entry]:
    """The files of a folder's manifest by name; ``remedy`` is the error for one that is none."""
    try:
        by_name: dict[str, Entry] = {}
        for item in items(folder):
            for file in item["files"]:
                entry = _entry(folder, item, file)
                by_name.setdefault(entry.name, entry)
        return by_name
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IsthmusError(remedy) from error


def items(folder: Path) -> list[dict[str, Any]]:
    """What the manifest lists, as it stands."""
    listing: list[dict[str, Any]] = json.loads((folder / NAME).read_text(encoding="utf-8"))
    return listing


def _entry(folder: Path, item: Mapping[str, Any], file: Mapping[str, Any]) -> Entry:
    return Entry(
        set_name(file["path"]),
        folder / file["path"],
        file["path"],
        file["sha256"],
        item["licence"],
        item["citation"],
        item["what"],
        layout_of(file["read"]) if "read" in file else None,
    )
