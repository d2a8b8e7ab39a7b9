"""The command line as a whole: its help, and the ways to start it."""

import re

import pytest
import torch

from commands import process, run
from isthmus.cli import app


def test_help_lists_every_command_in_panels():
    text = run("--help")
    panels = re.findall(r"─ ([A-Z][\w, ]+?) ─", text)
    assert panels == ["Options", "Train", "Data", "Look", "Claims, and this machine"]
    names = [c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands]
    names += [group.name for group in app.registered_groups]
    listed = re.findall(r"│ ([a-z][a-z-]*)  ", text)
    assert sorted(listed) == sorted(names)
    assert listed[:6] == ["recipes", "show", "fit", "compare", "fit-many", "resume"]


@pytest.mark.parametrize(
    "name", [c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands]
)
def test_every_command_has_help(name):
    assert f"isthmus {name}" in run(name, "--help")


def test_a_word_that_is_no_command_is_an_error_without_a_traceback():
    assert "fitt" in run("fitt", code=2)


@pytest.mark.parametrize("module", ["isthmus", "isthmus.cli"])
def test_python_runs_the_package(module):
    error = process("recipes", "zzzz", module=module, code=2).strip()
    assert error == "isthmus: no recipe mentions 'zzzz': isthmus recipes lists them all"


def test_lists_and_pages():
    assert "jumprelu" in run("recipes")
    found = run("recipes", "sparse")
    assert "topk" in found
    assert "beta-vae" not in found
    page = run("show", "topk")
    for expected in ("AuxK", "2406.04093", "latent_dim", "4096", "batch_size"):
        assert expected in page
    assert "digits" in run("data")


LONG = "x" * 300


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", LONG), "there is no run"),
        (("resume", LONG), "there is no run"),
        (("resume", "/dev/null"), "is no checkpoint"),
        (("harvest", LONG), "no language model"),
        (("show", LONG), "unknown"),
    ],
)
def test_names_that_are_no_files_are_one_sentence(words, said):
    assert said in run(*words, code=2)


def test_what_the_system_or_memory_refuses_is_one_sentence(monkeypatch):
    def refused(problem):
        def started(**_):
            raise problem

        monkeypatch.setattr("isthmus.cli.app", started)
        return run("recipes", code=2)

    assert refused(PermissionError(13, "Permission denied", "a")) == (
        "isthmus: a: Permission denied\n"
    )
    memory = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes"
    assert "not enough memory" in refused(RuntimeError(memory))
    assert "not enough memory" in refused(torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        refused(RuntimeError("a fault of ours"))


def test_show_prints_no_markup():
    assert run("data", "show", "digits").startswith("digits\n")
