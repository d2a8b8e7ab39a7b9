"""What is generated is up to date, and what the documentation says can be run."""

import importlib.util
from functools import cache

import pytest

from docs.blocks import ROOT, blocks


@cache
def generator():
    """``docs/generate.py`` as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_documentation_is_up_to_date():
    for path, content in generator().generated().items():
        assert path.exists(), f"{path} is missing: run make docs"
        assert path.read_text() == content, f"{path} is out of date: run make docs"


def test_every_recipe_has_a_picture_that_shows_something():
    """Pixels are not compared: they depend on the machine in their last bits."""
    image = pytest.importorskip("matplotlib.image")
    folder = ROOT / "docs" / "recipes"
    pages = sorted(path for path in folder.glob("*.md") if path.stem != "index")
    assert pages
    for page in pages:
        path = folder / "pictures" / f"{page.stem}.png"
        assert f"](pictures/{path.name})" in page.read_text()
        assert path.exists(), f"{path} is missing: run make docs"
        assert path.stat().st_size < 60_000, f"{path} is larger than a page should load"
        grey = image.imread(path)[..., :3].mean(-1)
        drawn = grey < 0.97
        assert 0.02 < drawn.mean() < 0.98, f"{path} is blank"
        assert grey.std() > 0.05, f"{path} is blank"
    assert {path.stem for path in folder.glob("pictures/*")} == {page.stem for page in pages}


def test_a_picture_is_made_again_when_its_recipe_has_changed(tmp_path, monkeypatch):
    from isthmus.recipes import get_recipe

    pictures = generator().recipe_pictures
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    blank = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 17
    monkeypatch.setattr(pictures, "drawn", lambda recipe: blank)
    recipes = {"plain": get_recipe("plain")}
    assert pictures.make(recipes) == [tmp_path / "plain.png"]
    assert pictures.key_in(tmp_path / "plain.png") == pictures.key_of(recipes["plain"])
    assert pictures.make(recipes) == []
    changed = pictures.Setting("digits", {"steps": 1})
    monkeypatch.setitem(pictures.SETTINGS, "plain", changed)
    assert pictures.make(recipes) == [tmp_path / "plain.png"]


def test_no_page_is_left_of_a_recipe_that_is_gone():
    from isthmus.recipes import list_recipes

    pages = {path.stem for path in (ROOT / "docs" / "recipes").glob("*.md")}
    assert pages - {"index"} == {name for name, recipe in list_recipes().items() if recipe.builtin}


def test_the_readme_python_runs(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
    written = {"X": x}
    for block in blocks("README.md"):
        exec(compile(block, "README.md", "exec"), written)


def test_the_parts_of_ones_own_in_the_documentation_work(own_recipes):
    import numpy as np
    import torch

    import isthmus
    from isthmus.anatomy import Autoencoder, Signal
    from isthmus.objectives import MSE

    written = {}
    for block in blocks("docs/own.md"):
        exec(compile(block, "own.md", "exec"), written)
    x = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
    model = Autoencoder(
        Signal.infer(x),
        encoder=torch.nn.Linear(20, 8),
        bottleneck=written["Ternary"](),
        decoder=torch.nn.Linear(8, 20),
        objective=MSE() + 0.1 * written["Balance"](8),
    )
    isthmus.fit(model, x, steps=20, batch_size=64, progress=False)
    assert set(np.unique(model.encode(x))) <= {-1.0, 0.0, 1.0}
    assert float(model.objective.terms[1].centre.detach().abs().sum()) > 0
    code = written["Scaled"](torch.zeros(3, 8), torch.ones(3), torch.ones(3))
    assert set(code.tensors()) == {"z", "scale"}


def test_the_recipe_of_several_arrays_in_the_documentation_works(own_recipes):
    import numpy as np

    import isthmus
    from isthmus.testing import check_recipe

    written = {"__name__": "own"}
    for block in blocks("docs/own.md"):
        exec(compile(block, "own.md", "exec"), written)
    rng = np.random.default_rng(0)
    rows = {"image": rng.normal(size=(60, 4)), "text": rng.normal(size=(60, 3))}
    rows["text"][::3] = np.nan
    about = {"given": {"label": np.arange(60) % 4}, "mask": {"text": np.arange(60) % 3 > 0}}
    model = isthmus.fit(written["several"], rows, steps=5, progress=False, **about)
    assert isthmus.evaluate(model, rows, **about)["fvu.text"].value > 0
    lacking = {"image": rows["image"], "text": np.zeros((60, 3))}
    none = {"given": about["given"], "mask": {"text": np.zeros(60, bool)}}
    assert model.encode(lacking, **none).shape == (60, 4)
    check_recipe(written["several"])


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda p: p.stem)
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 500
