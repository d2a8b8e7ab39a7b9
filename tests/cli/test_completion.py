"""What the shell offers, read off the files, is what the library knows."""

import subprocess
import sys

import pytest

from isthmus import data
from isthmus.cli import completion
from isthmus.data import public
from isthmus.recipes import get_recipe, list_recipes
from isthmus.studies import claims
from isthmus.training import TrainingOptions


def test_names_of_recipes_and_claims_are_those_that_there_are():
    builtin = [name for name, recipe in list_recipes().items() if recipe.builtin]
    assert [name for name in completion.recipe_names() if name in builtin] == builtin
    assert set(completion.recipe_names()) <= set(list_recipes())
    assert sorted(completion.claims("")) == sorted(claims())


@pytest.mark.parametrize("name", ["topk", "vae", "mae", "ciwae"])
def test_options_are_those_of_the_recipe_and_of_every_run(name):
    offered = completion.recipe_options(name)
    own = set(get_recipe(name).model_options.model_fields)
    assert own | set(TrainingOptions.model_fields) | {"kind", "axis", "start"} <= set(offered)
    get_recipe(name).parse({})
    assert set(offered) - own - set(TrainingOptions.model_fields) == {
        "start", "kind", "axis", "size", "mode", "max_norm",
    }  # fmt: skip


def test_data_that_have_a_name_are_offered_and_files_too(tmp_path, monkeypatch):
    assert set(data.names()) <= set(completion.data_names())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.csv").write_text("a\n1\n")
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.npy").write_text("")
    assert completion.data("dig") == ["digits", "digits.csv"]
    assert completion.data("sub/") == ["sub/x.npy"]
    assert {"sub/", "digits.csv"} <= set(completion.data(""))
    assert ".hidden" not in completion.data("")
    assert completion.data("no/such/") == []


def test_without_the_folder_of_data_sets_those_of_the_package_are_offered(monkeypatch, tmp_path):
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    assert "digits" in completion.data_names()
    monkeypatch.delenv("ISTHMUS_DATA")
    assert completion.data_names() == sorted(data.names())


def offered(*words):
    """What a shell is offered for the last of these words, and which heavy modules it took."""
    code = (
        "import sys\nfrom isthmus.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    print([m for m in ('torch', 'numpy', 'isthmus.recipes') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=_environment(words),
    )  # fmt: skip
    *found, heavy = done.stdout.splitlines()
    assert heavy == "[]", done.stdout
    return found


def _environment(words):
    import os

    return {
        **os.environ, "_ISTHMUS_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip


def test_a_shell_is_answered_without_the_library():
    assert offered("isthmus", "fit", "jum") == ["jumprelu"]
    assert offered("isthmus", "fit", "topk", "digits", "latent_") == ["latent_dim="]
    assert offered("isthmus", "comp") == ["compare"]
    assert offered("isthmus", "compare", "digits", "--recipes", "vae,jum") == ["vae,jumprelu"]
    assert offered("isthmus", "resume", "run", "digits", "e") == ["epochs="]


def test_sets_to_fetch_are_offered():
    assert "fashion_mnist" in completion.data_sets("fash")
    assert set(completion.public_names()) == set(public.sets())
