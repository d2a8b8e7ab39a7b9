"""The blocks of code of a page, and running them as a reader would: in order, in one folder."""

import re
import shlex
from pathlib import Path

from commands import command

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FEWER = {r"\bsteps=\d+": "steps=3", r"tokens=\d+": "tokens=1500", r"--tokens \d+": "--tokens 1000"}
"""What makes a guide quick enough for every run of the tests: less training, nothing else."""


def blocks(name, kind="python"):
    """The blocks of one kind of a page."""
    found = [code for of, code in BLOCK.findall((ROOT / name).read_text("utf-8")) if of == kind]
    assert found
    return found


def words(line):
    """The words of a command line, without its comment."""
    return shlex.split(line, comments=True)


def follow(name, *, fewer=False):
    """Run what a page says, blocks of Python and of ``isthmus``, in the current folder.

    What the Python defined is returned, and what the commands printed as ``said``.
    """
    text, written, said = (ROOT / name).read_text("utf-8"), {"__name__": "guide"}, []
    if fewer:
        for long, short in FEWER.items():
            text = re.sub(long, short, text)
    for kind, code in BLOCK.findall(text):
        if kind == "python":
            exec(compile(code, name, "exec"), written)
        elif kind == "sh":
            for line in filter(None, map(words, code.splitlines())):
                if line[0] == "isthmus":
                    said.append(command(*line[1:]))
    return {**written, "said": said}
