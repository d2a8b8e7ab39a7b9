"""The command line, in this process or in one of its own."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from isthmus.cli import app, main


def command(*words):
    """What ``isthmus`` with these words prints, in this process. It must end well."""
    said = CliRunner().invoke(app, list(words))
    assert said.exit_code == 0, said.output
    return said.output


def run(*words, cwd=None, code=0):
    """What a user sees of a command, in this process; of one that fails, what it complains of."""
    out, err, ended, path = io.StringIO(), io.StringIO(), 0, [*sys.path]
    printed = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(cwd or Path.cwd()), _words(words), printed[0], printed[1]:
        try:
            main()
        except SystemExit as end:
            ended = end.code or 0
    sys.path[:] = path
    assert ended == code, out.getvalue() + err.getvalue()
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return out.getvalue() if code == 0 else err.getvalue()


@contextlib.contextmanager
def _words(words):
    before, sys.argv = sys.argv, ["isthmus", *map(str, words)]
    try:
        yield
    finally:
        sys.argv = before


def process(*words, module="isthmus", cwd=None, code=0):
    """The same by ``python -m`` in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        capture_output=True, text=True, cwd=cwd, timeout=120,
    )  # fmt: skip
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    return result.stdout if code == 0 else result.stderr
