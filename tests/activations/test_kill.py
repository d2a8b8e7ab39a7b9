"""A harvest killed at random moments, by SIGKILL, ends with the bytes of one that never was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILL = Path(__file__).parent / "kill.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_at_random(tmp_path):
    done = subprocess.run(
        [sys.executable, str(KILL), str(tmp_path), "16", "0"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["kills"] >= 16
    assert found["partly"] >= 4  # some hit a store that had begun
