"""What the documentation names exists, and what its pages show can be run."""

import inspect
import re
import sys
from itertools import count

import numpy as np
import pytest

import isthmus
from docs.blocks import BLOCK, ROOT, blocks
from docs.test_generated import generator
from isthmus.kernels.library import native
from isthmus.studies import Trial

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if path.name != "CHANGELOG.md"  # it tells of names that are gone
)
NAME = re.compile(r"`(isthmus(?:\.\w+)+)(?:\([^`]*\))?`")
FILE = re.compile(r"`((?:src|tests|docs|tools|examples|benchmarks|reproductions)/[\w./-]*)`")
IMPORT = re.compile(r"^\s*(?:from (isthmus[\w.]*) import ([\w, ]+)|import (isthmus[\w.]*))$", re.M)


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_name_of_the_package_exists(path):
    resolved = generator().resolved
    text = path.read_text("utf-8")
    for name in NAME.findall(BLOCK.sub("", text)):
        assert resolved(name) is not None, name
    for module, names, alone in IMPORT.findall(text):
        if alone:
            assert resolved(alone) is not None, alone
        for name in filter(None, re.split(r"[ ,]+", names)):
            assert resolved(f"{module}.{name}") is not None, f"{module}.{name}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_file_that_is_named_or_linked_exists(path):
    text = path.read_text("utf-8")
    for named in FILE.findall(text):
        assert (ROOT / named).exists(), f"{path.name} names {named}"
    for link in re.findall(r"\]\(([^)#\s]+)", BLOCK.sub("", text)):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_a_name_or_a_file_that_is_gone_is_found():
    with pytest.raises((ImportError, AttributeError)):
        generator().resolved("isthmus.anatomy.Autoencoder.encoded")
    assert NAME.findall("`isthmus.anatomy.Code(z)` and `isthmus.fit`") == [
        "isthmus.anatomy.Code", "isthmus.fit",
    ]  # fmt: skip
    assert FILE.findall("`src/isthmus/runs.py` `../shared`") == ["src/isthmus/runs.py"]


@pytest.mark.parametrize("name", ["part", "recipe", "measure"])
def test_what_a_page_tells_to_write_works(name, own_recipes, monkeypatch):
    from isthmus.evaluation import registry

    kept = {kind: list(factories) for kind, factories in registry._TABLE.items()}
    monkeypatch.setattr(registry, "_TABLE", kept)
    written = {"__name__": "written"}
    for block in blocks(f"docs/write/{name}.md"):
        exec(compile(block, f"{name}.md", "exec"), written)


def test_what_the_page_of_similarity_shows_is_so():
    for block in blocks("docs/similarity.md"):
        exec(block, {"__name__": "__main__"})


@pytest.mark.slow
def test_the_circuit_of_the_page_is_found():
    """The first block; the second needs a model of elsewhere."""
    page = {"__name__": "__main__"}
    exec(blocks("docs/circuits.md")[0], page)
    assert 5 < page["circuit"].sum() < 24
    assert page["counts"].shape == page["first_order"].shape == (6, 8)


def test_the_claims_that_a_page_tells_to_write_can_be_checked(own_claims):
    """Both are registered and give a word; a bench measures a model that explains its plane."""
    from isthmus.reproduction import judge
    from isthmus.studies import Coded, get_claim

    written = {"__name__": "written"}
    for block in blocks("docs/write/claim.md"):
        exec(compile(block, "claim.md", "exec"), written)
    assert get_claim("batchtopk-planted") is written["mine"]
    theorem = get_claim("root-n")
    assert judge(theorem, [theorem.run(Trial(seed)) for seed in range(11, 16)]).word == "supported"
    ground = written["plane"].open(Trial(11))
    axes = np.linalg.svd(ground.known["plane"], full_matrices=False)[2]
    measured = [
        written["plane"].measured(
            Coded(lambda x, a=a: x @ a.T, lambda z, a=a: z @ a), ground, ("fvu",)
        )
        for a in (axes, axes[:1])
    ]
    assert measured[0]["fvu"] < 0.05 < measured[1]["fvu"]


def test_a_step_calls_what_its_page_says_in_that_order():
    """The third step of a run, watched: each function comes after the one named before it."""
    from isthmus.training.stepper import Stepper

    text = (ROOT / "docs/life.md").read_text("utf-8")
    tools = generator()
    names = [n for n in tools.life_names(text) if native() is not None or "RowAdam" not in n]
    assert len(names) > 15
    codes = {n: inspect.unwrap(tools.resolved(n)).__code__ for n in names}
    called, numbers, taken = [], count(), Stepper.step

    def watched(self, *args):
        if next(numbers) != 2:
            return taken(self, *args)
        sys.setprofile(
            lambda frame, event, _: called.append(frame.f_code) if event == "call" else 0
        )
        try:
            return taken(self, *args)
        finally:
            sys.setprofile(None)

    Stepper.step = watched
    try:
        x = np.random.default_rng(0).normal(size=(400, 20)).astype(np.float32)
        (example,) = blocks("docs/life.md")
        exec(compile(example, "life.md", "exec"), {"X": x, "isthmus": isthmus})
    finally:
        Stepper.step = taken
    at = -1
    for name, code in codes.items():
        later = [i for i, seen in enumerate(called) if seen is code and i > at]
        assert later, f"{name} is not called, or not after {names[max(0, names.index(name) - 1)]}"
        at = later[0]
