"""Where a dictionary lies: a folder, a file, or a folder or file of the Hugging Face hub."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.formats.tensor_file import ENDINGS, TensorFile, open_tensors

HUB = "hf:"
SETTINGS = (".json", ".yaml", ".yml")


@dataclass
class Location:
    """A folder on this machine, or one file of it, and where it came from.

    name
        What the user asked for, for messages and for what a name says (a width, a k).
    """

    folder: Path
    only: str | None = None
    name: str = ""
    repo: str | None = None
    revision: str | None = None
    used: set[str] = field(default_factory=set)
    """Names of the files that were read."""
    hidden: frozenset[str] = frozenset()
    """Names of files that are taken not to be there."""

    @cached_property
    def names(self) -> list[str]:
        """The files here, by name; beside a single file its settings are seen, too."""
        files = {path.name for path in self.folder.iterdir() if path.is_file()}
        names = sorted(files - self.hidden)
        if self.only is None:
            return names
        return [n for n in names if n == self.only or n.endswith(SETTINGS)]

    @property
    def folders(self) -> list[str]:
        """The folders here, by name."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir())

    @property
    def tensors(self) -> list[str]:
        """The files of tensors here."""
        return [n for n in self.names if n.endswith(ENDINGS)]

    def settings(self, name: str) -> dict[str, Any]:
        """What a JSON file says; an error where it is none."""
        path = self.folder / name
        try:
            settings = json.loads(path.read_text())
        except (OSError, ValueError):
            raise IsthmusError(f"{path} is no readable JSON: fetch it again") from None
        if not isinstance(settings, dict):
            raise IsthmusError(f"{path} holds no settings by name: fetch it again")
        self.used.add(name)
        return settings

    def opened(self, name: str) -> TensorFile:
        """One file of tensors, its header read."""
        self.used.add(name)
        if name not in self._open:
            self._open[name] = open_tensors(self.folder / name)
        return self._open[name]

    @cached_property
    def _open(self) -> dict[str, TensorFile]:
        return {}

    def without(self, names: Iterable[str]) -> "Location":
        """The same place as if these files were not there."""
        return replace(self, used=set(), hidden=self.hidden | {*names})

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each file that was used."""
        checksums = {}
        for name in sorted(self.used):
            with (self.folder / name).open("rb") as handle:
                checksums[name] = hashlib.file_digest(handle, "sha256").hexdigest()
        return checksums

    def check(self, sha256: str | None) -> None:
        """An error where no file that was used has this checksum; None asks for none."""
        if sha256 is not None and sha256 not in self.hashes().values():
            raise IsthmusError(
                f"{self} has another checksum than {sha256[:12]}...: it is another revision or "
                "damaged"
            )

    def __str__(self) -> str:
        return self.name


def locate(where: str | Path) -> Location:
    """The place that ``where`` names: ``hf:owner/repo/path@revision``, a folder or a file."""
    text = str(where)
    if not text.strip():  # which a path would take for the current folder
        raise IsthmusError(
            "an empty name is no place: name a folder or a file, or . for the current folder"
        )
    if text.startswith(HUB):
        return _from_hub(text)
    path = Path(where).expanduser()
    if path.is_dir():
        return Location(path, None, text)
    if path.is_file():
        return Location(path.parent, path.name, text)
    hint = ""
    if re.fullmatch(r"[\w.-]+/[\w./-]+(@[\w.-]+)?", text):
        hint = f", or hf:{text} where it is on the Hugging Face hub"
    raise IsthmusError(f"{text} does not exist: name a folder or a file{hint}")


def _from_hub(text: str) -> Location:
    """Fetch what is below a path of a repository, with the settings above it."""
    name, _, revision = text.removeprefix(HUB).partition("@")
    parts = [part for part in name.split("/") if part]
    if len(parts) < 2:
        raise IsthmusError(f"{text} names no repository: write hf:owner/repository/path@revision")
    repo, inside = "/".join(parts[:2]), "/".join(parts[2:])
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise MissingExtra("huggingface_hub", "hub", f"reading {text}") from None
    single = inside.endswith(ENDINGS)
    above = ["/".join(parts[2:end]) for end in range(2, len(parts))]
    settings = [f"{one}/*{end}" if one else f"*{end}" for one in above for end in SETTINGS]
    patterns = [inside if single else f"{inside}/*" if inside else "*", *settings]
    try:
        folder = huggingface_hub.snapshot_download(
            repo, revision=revision or None, allow_patterns=patterns
        )
    except LocalEntryNotFoundError:
        raise IsthmusError(
            f"{text} is not on this machine and the hub cannot be reached: connect, or name a "
            "folder that has it"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as problem:
        first = str(problem).strip().splitlines() or [type(problem).__name__]
        raise IsthmusError(
            f"{text} cannot be fetched ({first[0]}): check repository, path and revision"
        ) from None
    path = Path(folder) / inside
    if not path.exists():
        raise IsthmusError(f"{repo} has no {inside}: check the path after the repository's name")
    commit = Path(folder).name
    if path.is_file():
        return Location(path.parent, path.name, text, repo, commit)
    return Location(path, None, text, repo, commit)
