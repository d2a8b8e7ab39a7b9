"""The command line, in this process or in one of its own."""

import subprocess
import sys

from typer.testing import CliRunner

from isthmus.cli import app


def command(*words):
    """What ``isthmus`` with these words prints, in this process. It must end well."""
    said = CliRunner().invoke(app, list(words))
    assert said.exit_code == 0, said.output
    return said.output


def run(*words, cwd=None, code=0):
    """What a process of its own prints, as a user meets it; of a failure, what it complains of."""
    result = subprocess.run(
        [sys.executable, "-m", "isthmus.cli", *map(str, words)],
        capture_output=True, text=True, cwd=cwd, timeout=120,
    )  # fmt: skip
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    return result.stdout if code == 0 else result.stderr
