"""Runs a command line: as functions in this process, or as the command itself."""

import contextlib
import io
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from unittest import mock


@dataclass
class Outcome:
    """What a command line came to; ``crash`` is the traceback of one that ended in an exception."""

    arguments: list[str]
    code: int | None
    out: str
    err: str
    crash: str = ""

    @property
    def sentence(self) -> str:
        """The error that was said."""
        said = [line for line in self.err.splitlines() if line.startswith("isthmus: ")]
        return said[-1] if said else ""

    @property
    def refuses_rightly(self) -> bool:
        """Whether good data were refused for what they are: nothing varies, or too few rows."""
        return any(
            word in self.sentence
            for word in ("constant", "fewer than", "too few", "fit no kind", "nothing to learn")
        )


def in_process(arguments: list[str], folder: Path) -> Outcome:
    """The functions behind the command line, called in this process."""
    from isthmus import cli, notices

    notices.forget()
    out, err = io.StringIO(), io.StringIO()
    code: int | None = 0
    crash = ""
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", ["isthmus", *arguments]),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) or end.code is None else 1
        except BaseException:
            code, crash = None, traceback.format_exc()
    return Outcome(
        arguments, code or 0 if not crash else None, out.getvalue(), err.getvalue(), crash
    )


def started(arguments: list[str], folder: Path) -> Outcome:
    """The command itself, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "isthmus.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        env=os.environ,
        check=False,
    )
    return Outcome(arguments, ended.returncode, ended.stdout, ended.stderr)
