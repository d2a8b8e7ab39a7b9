"""A hook for commits: no file of more than 500 kB, and TOML, YAML and JSON that can be read.

``python tools/check_files.py FILE...``
"""

import json
import sys
import tomllib
from pathlib import Path

import yaml

LARGEST = 500_000
ALLOWED = {
    "docs/pictures", "tests/formats", "src/isthmus/language/resident",
    "src/isthmus/language/resident_circuits", "reproductions",
}  # fmt: skip
"""Folders whose files are what they are: pictures, stored runs, the models that ship, results."""

READERS = {
    ".toml": lambda text: tomllib.loads(text),
    ".yml": lambda text: yaml.compose(text),
    ".yaml": lambda text: yaml.compose(text),
    ".cff": lambda text: yaml.safe_load(text),
    ".json": json.loads,
}


def problem(path: Path) -> str | None:
    """What is wrong with a file, in a sentence."""
    kept = any(path.as_posix().startswith(f"{folder}/") for folder in ALLOWED)
    if not kept and path.stat().st_size > LARGEST:
        return f"{path} has {path.stat().st_size:,} bytes: keep files under {LARGEST:,}"
    reader = READERS.get(path.suffix)
    if reader is not None:
        try:
            reader(path.read_text("utf-8"))
        except (ValueError, yaml.YAMLError) as wrong:
            return f"{path} cannot be read: {wrong}"
    return None


if __name__ == "__main__":
    found = [said for name in sys.argv[1:] if (said := problem(Path(name)))]
    sys.exit("\n".join(found) or 0)
