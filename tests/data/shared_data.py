"""Where the shared data sets are, for tests that need them."""

import os
from pathlib import Path

import pytest


def shared_folder() -> Path:
    """The folder of shared data sets; skips the test where there is none."""
    named = os.environ.get("ISTHMUS_DATA")
    folder = Path(named) if named else Path(__file__).parents[2].parent / "shared" / "data"
    if not (folder / "manifest.json").is_file():
        pytest.skip("the shared data sets are not here")
    return folder
