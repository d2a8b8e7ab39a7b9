"""The face of the package: what it lists is there, cheap, and called by one name."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Code
from isthmus.errors import IsthmusError

VERBS = {
    "compare", "encode", "evaluate", "fit", "fit_many", "from_pretrained", "list_recipes", "load",
    "report", "reproduce", "resume", "resume_many", "save",
}  # fmt: skip
SHIMS = {"report"}
"""Modules of a former name that is a verb now."""

ON_DISK = {m.name for m in pkgutil.iter_modules(isthmus.__path__) if not m.name.startswith("_")}

HEAVY = [
    "scipy.stats", "scipy.optimize", "scipy.sparse", "sklearn", "pandas", "transformers",
    "matplotlib", "pyarrow", "datasets", "PIL", "rich", "isthmus.activations",
    "isthmus.evaluation", "isthmus.interpretation", "isthmus.language",
]  # fmt: skip


def test_it_has_the_verbs_of_a_first_day_and_what_they_are_about():
    others = {"Autoencoder", "IsthmusError", "Signal", "data", "recipes"}
    assert set(isthmus.__all__) == VERBS | others
    for name in VERBS:
        verb = getattr(isthmus, name)
        assert callable(verb)
        assert verb.__doc__


def test_every_package_is_an_attribute():
    for name in ON_DISK - SHIMS:
        assert isinstance(getattr(isthmus, name), ModuleType), name
        assert getattr(isthmus, name) is importlib.import_module(f"isthmus.{name}")


def test_dir_lists_just_what_is_public_and_there():
    listed = dir(isthmus)
    assert set(listed) == {*isthmus.__all__, *ON_DISK}
    assert all(hasattr(isthmus, name) for name in listed)
    assert not {"Any", "TYPE_CHECKING"} & {*listed}


def test_an_editor_is_told_of_the_same_names():
    tree = ast.parse(Path(isthmus.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {alias.asname or alias.name for node in block.body for alias in node.names}
    assert told | {"IsthmusError"} == set(dir(isthmus))


def test_no_verb_has_the_name_of_a_package():
    assert not VERBS & (ON_DISK - SHIMS)


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        isthmus.fitt  # noqa: B018
    with pytest.raises(AttributeError):
        isthmus.__main__  # noqa: B018


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import isthmus", ["torch", "numpy", *HEAVY]),
        ("import isthmus; isthmus.fit, isthmus.load, isthmus.fit_many", HEAVY),
        ("import isthmus; isthmus.list_recipes()", HEAVY),
        ("import isthmus.cli", ["torch", "numpy", *(m for m in HEAVY if m != "rich")]),
    ],
)
def test_what_is_heavy_is_loaded_by_whoever_needs_it(code, heavy):
    code = f"{code}\nimport sys\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_of_a_language_model_are_opened_though_nothing_of_it_was_imported():
    code = (
        "from isthmus.data import as_source, schemes\n"
        "import sys\n"
        "assert 'isthmus.activations' not in sys.modules\n"
        "assert schemes.has_scheme('lm:resident@layers.1') and not schemes.has_scheme('mnist')\n"
        "try:\n    as_source('lm:resident@layers.99')\n"
        "except ValueError as problem:\n    print(problem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "layers.99" in done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a table and a run of it."""
    place = tmp_path_factory.mktemp("face")
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savetxt(place / "x.csv", X, delimiter=",", header="a,b,c", comments="", fmt="%.9g")
    isthmus.fit(
        "topk", str(place / "x.csv"), latent_dim=8, k=2, steps=3, batch_size=8,
        out=place / "run", progress=False,
    )  # fmt: skip
    return place, X


def test_encode_takes_a_model_or_its_folder_and_data_of_any_kind(run):
    place, X = run
    model = isthmus.load(place / "run")
    codes = isthmus.encode(model, X)
    assert codes.shape == (40, 8)
    assert isinstance(codes, np.ndarray)
    np.testing.assert_array_equal(codes, model.encode(X))
    for data in (place / "x.csv", str(place / "x.csv"), isthmus.data.as_source(place / "x.csv")):
        np.testing.assert_allclose(np.asarray(isthmus.encode(place / "run", data)), codes)
    assert isinstance(isthmus.encode(model, torch.from_numpy(X)), torch.Tensor)
    code = isthmus.encode(model, place / "x.csv", code=True, batch_size=7)
    assert isinstance(code, Code)
    np.testing.assert_allclose(code.z.numpy(), codes)


def test_what_cannot_encode_or_be_encoded_is_one_sentence(run, tmp_path):
    place, X = run
    with pytest.raises(IsthmusError, match="pass a fitted model or the folder of a run"):
        isthmus.encode(X, place / "run")
    with pytest.raises(IsthmusError, match="no checkpoint"):
        isthmus.encode(tmp_path, X)
    with pytest.raises(IsthmusError):
        isthmus.encode(place / "run", X[:, :2])
