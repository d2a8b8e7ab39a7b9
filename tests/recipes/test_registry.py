"""Recipes by name: options, near misses, scaling, tables."""

import functools
import sys
import warnings
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field
from torch import nn

from isthmus.anatomy import Autoencoder, Signal
from isthmus.errors import IsthmusError
from isthmus.recipes import as_recipe, broken_recipes, get_recipe, option_table, recipe, recipes
from isthmus.recipes import registry as registry_module
from isthmus.training import TrainingOptions

VECTOR = Signal("vector", (5,)).bounded(-3.0, 3.0)
UNIT = Signal("vector", (5,)).bounded(0.0, 1.0)
IMAGE = Signal("image", (1, 8, 8)).bounded(0.0, 255.0)


@pytest.mark.parametrize("name", list(recipes()))
def test_every_page_is_complete(name):
    found = get_recipe(name)
    for text in (found.paper, found.formula, found.claim, found.doc, found.idea, found.family):
        assert text.strip()
    assert found.idea.endswith(".")
    for row in option_table(found.model_options, {}):
        assert row["description"], f"{name}: the option {row['name']} has no description"
        assert "typing" not in row["type"]
    chosen, training = found.parse({})
    assert isinstance(training, TrainingOptions)
    assert set(chosen) == set(found.model_options.model_fields)


def test_names_and_search():
    everything = recipes()
    assert list(everything) == sorted(everything)
    assert {"plain", "denoising", "beta-vae", "topk", "jumprelu"} <= set(everything)
    assert set(recipes("JumpReLU")) >= {"jumprelu"}
    assert "plain" not in recipes("dictionary")
    assert recipes("no page says this") == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: get_recipe("plane"), "unknown recipe 'plane': did you mean 'plain'"),
        (lambda: get_recipe("zzz"), "known are"),
        (lambda: parse("plain", latent_dims=3), "did you mean 'latent_dim'"),
        (lambda: parse("plain", batchsize=3), "did you mean 'batch_size'"),
        (lambda: parse("plain", latent_dim=0), "latent_dim=0 is not allowed"),
        (lambda: parse("plain", latent_dim="many"), "latent_dim='many' is not allowed"),
        (lambda: parse("plain", lr=-1.0), "lr=-1.0 is not allowed"),
        (lambda: parse("plain", lr=float("nan")), "lr=nan is not allowed"),
        (lambda: parse("plain", network="cnn"), "network='cnn' is not allowed"),
        (lambda: parse("plain", steps=0), "steps=0 is not allowed"),
        (lambda: parse("plain", validation=1.0), "validation=1.0 is not allowed"),
        (lambda: parse("plain", average=1.0), "average=1.0 is not allowed"),
        (lambda: parse("plain", precision="16"), "precision='16' is not allowed"),
        (lambda: parse("plain", lr_schedule="step"), "lr_schedule='step' is not allowed"),
        (lambda: parse("plain", scaling="lines"), "scaling='lines' is not allowed"),
        (lambda: parse("plain", groups=[{"mach": "*"}]), "groups.0.mach"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(call, message):
    with pytest.raises(IsthmusError, match=message) as problem:
        call()
    assert "\n" not in str(problem.value)


def parse(name, **options):
    return get_recipe(name).parse(options)


def test_steps_and_epochs_replace_each_others_published_default():
    assert parse("topk")[1].steps == 10_000
    _, training = parse("topk", epochs=2)
    assert (training.steps, training.epochs) == (None, 2.0)
    _, training = parse("plain", steps=7)
    assert (training.steps, training.epochs) == (7, None)
    _, training = parse("plain", steps=7, epochs=3)
    assert training.total_steps(10) == 7


def test_published_defaults_reach_the_trainer_and_yield_to_the_user():
    assert parse("jumprelu")[1].optimiser_options == {"betas": [0.0, 0.999]}
    assert parse("topk")[1].average == 0.999
    assert parse("topk", average=None)[1].average is None


@pytest.mark.parametrize(
    ("name", "signal", "asked", "mode"),
    [
        ("plain", VECTOR, "auto", "columns"),
        ("plain", UNIT, "auto", "none"),
        ("plain", IMAGE, "auto", "none"),
        ("plain", UNIT, "columns", "columns"),
        ("plain", VECTOR, "none", "none"),
        ("topk", VECTOR, "auto", "global"),
        ("topk", UNIT, "auto", "global"),
        ("jumprelu", UNIT, "auto", "norm"),
        ("jumprelu", UNIT, "none", "none"),
    ],
)
def test_scaling(name, signal, asked, mode):
    found = get_recipe(name)
    options = {"latent_dim": 4, "scaling": asked}
    if name == "topk":
        options["k"] = 2
    model = found.build(signal, found.parse(options)[0])
    assert model.scaler.mode == mode
    assert model.signal == signal


def test_scaled_data_are_no_longer_in_the_unit_range():
    """A Bernoulli likelihood of standardised data would be nonsense."""
    found = get_recipe("denoising")
    asked = {"likelihood": "bernoulli", "scaling": "columns"}
    with pytest.raises(IsthmusError, match="scaling=none"):
        found.build(UNIT, found.parse(asked)[0])


@pytest.fixture
def private(monkeypatch):
    monkeypatch.setattr(registry_module, "_RECIPES", {})


def test_a_name_of_this_library_is_taken():
    def mine(signal: Signal) -> Autoencoder:
        raise NotImplementedError

    with pytest.raises(IsthmusError, match="two recipes are called 'plain', isthmus"):
        recipe("plain")(mine)
    assert get_recipe("plain").builtin


def page(name="toy", **more):
    return recipe(name, family="toys", paper="p", formula="f", claim="c", **more)


def test_registering_a_page_of_ones_own(private):
    @page(training={"steps": 3})
    def toy(
        signal: Signal,
        *,
        width: Annotated[int, Field(gt=0, description="how wide")] = 5,
        net: Annotated[nn.Module | None, Field(description="own")] = None,
    ) -> Autoencoder:
        """Play. And more.

        Second paragraph.
        """
        raise NotImplementedError

    made = registry_module._RECIPES["toy"]
    assert made.idea == "Play. And more."
    chosen, training = made.parse({"width": "7"})
    assert chosen == {"width": 7, "net": None, "scaling": "auto"}
    assert training.steps == 3
    kinds = {row["name"]: row["type"] for row in option_table(made.model_options, {})}
    assert kinds["width"] == "int"
    assert kinds["net"] == "Module or none"
    page(training={"steps": 4})(toy)  # defined anew, as in a notebook
    assert registry_module._RECIPES["toy"].parse({})[1].steps == 4

    def another(signal: Signal) -> Autoencoder:
        raise NotImplementedError

    with pytest.raises(IsthmusError, match="two recipes are called 'toy'") as problem:
        page()(another)
    assert "toy and " in str(problem.value)
    assert "another" in str(problem.value)


def test_a_page_that_cannot_work_is_refused_at_once(private):
    def positional(signal: Signal, width: int = 5) -> Autoencoder:
        raise NotImplementedError

    def clashing(signal: Signal, *, lr: float = 5.0) -> Autoencoder:
        raise NotImplementedError

    def fine(signal: Signal, *, width: int = 5) -> Autoencoder:
        raise NotImplementedError

    with pytest.raises(ValueError, match="keyword-only"):
        page("a")(positional)
    with pytest.raises(ValueError, match="already training options"):
        page("b")(clashing)
    with pytest.raises(IsthmusError, match="stpes"):
        page("c", training={"stpes": 3})(fine)


def test_own_modules_are_found_among_the_options():
    own = nn.Linear(2, 2)
    assert registry_module.module_options({"encoder": own, "k": 3, "hidden": None}) == {
        "encoder": own
    }


def test_numbers_from_numpy_are_options_too():
    chosen, training = parse("plain", latent_dim=np.int64(3), lr=np.float32(0.5))
    assert chosen["latent_dim"] == 3
    assert training.lr == 0.5


# --- everything that can stand where a name can ----------------------------------------------


def unannotated(signal, *, k=3):
    raise NotImplementedError


def starred(signal, **more):
    raise NotImplementedError


def spread(signal, *more):
    raise NotImplementedError


def optioned(latent_dim: int = 3):
    raise NotImplementedError


def reserved(signal, *, out: int = 3):
    raise NotImplementedError


def required(signal, *, k: int):
    return f"{k}"


def postponed(signal, *, k: "Nowhere" = 3):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (unannotated, "the option 'k' has no type"),
        (starred, r"\*more hides which options"),
        (spread, r"\*more hides which options"),
        (optioned, "its first parameter 'latent_dim' must be the signal"),
        (reserved, "'out' has a meaning in every fit"),
        (postponed, "name 'Nowhere' is not defined"),
        (3, "a int is no recipe"),
        (None, "a NoneType is no recipe"),
        ("json:__name__", "'json:__name__', a str, is no recipe"),
        ("json:nothing", "has no 'nothing'"),
        ("json:lods", "has no 'lods': did you mean 'loads'"),
        ("json:", "names no function"),
        (":dumps", "names no function"),
        ("a b:c", "names no function"),
        ("no.where:mine", "ModuleNotFoundError: No module named 'no'"),
        ("mypkg.pages.mine", "is written 'mypkg.pages:mine'"),
    ],
)
def test_what_is_no_recipe_is_said_in_one_sentence(given, message):
    with pytest.raises(IsthmusError, match=message) as problem:
        as_recipe(given)
    assert "\n" not in str(problem.value)


def test_an_option_without_a_default_is_asked_for():
    found = as_recipe(required)
    with pytest.raises(IsthmusError, match="the option k has no default: pass k="):
        found.parse({})
    assert option_table(found.model_options, {})[0]["default"] == "required"
    with pytest.raises(IsthmusError, match="required returned a str: a recipe returns an Auto"):
        found.build(VECTOR, found.parse({"k": 3})[0])


def test_a_partial_function_a_class_and_odd_names_of_options():
    def build(signal, *, copy: int = 1, model_dim: int = 2, k: int = 3) -> Autoencoder:
        raise NotImplementedError

    class Mine(Autoencoder):
        def __init__(self, signal: Signal, *, width: int = 2) -> None:
            raise NotImplementedError

    assert as_recipe(functools.partial(build, k=5)).parse({})[0]["k"] == 5
    assert as_recipe(build).parse({"copy": 4})[0]["copy"] == 4
    assert as_recipe(Mine).parse({"width": 3})[0]["width"] == 3
    assert as_recipe(Mine).name == "Mine"
    assert not as_recipe(build).importable


# --- packages --------------------------------------------------------------------------------

GOOD = """
from isthmus.recipes import recipe

@recipe("offered")
def offered(signal, *, k: int = 3):
    raise NotImplementedError

def bare(signal, *, k: int = 4):
    raise NotImplementedError
"""
OTHER = """
from isthmus.recipes import recipe

@recipe("offered")
def theirs(signal):
    raise NotImplementedError

@recipe("topk")
def topk(signal):
    raise NotImplementedError
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Three installed packages: one sound, one broken, one that takes names of others."""
    texts = {"goodpkg": GOOD, "brokenpkg": "import nowhere_at_all", "otherpkg": OTHER}
    points = {
        "goodpkg": "a-module = goodpkg\nbare-function = goodpkg:bare",
        "brokenpkg": "broken = brokenpkg:mine",
        "otherpkg": "other = otherpkg",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[isthmus.recipes]\n{points[name]}\n")
    get_recipe("plain")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry_module, "_RECIPES", dict(registry_module._RECIPES))
    monkeypatch.setattr(registry_module, "_BROKEN", {})
    for cached in (registry_module._discover_packages, registry_module.origin.distribution):
        cached.cache_clear()
    yield
    for name in texts:
        sys.modules.pop(name, None)
    monkeypatch.undo()
    for cached in (registry_module._discover_packages, registry_module.origin.distribution):
        cached.cache_clear()


def test_packages_offer_recipes_and_a_broken_one_breaks_no_other(packages):
    bare = get_recipe("bare-function")
    assert bare.source == "goodpkg:bare"
    assert bare.where == "goodpkg:bare (goodpkg 1.0)"
    assert bare.parse({})[0]["k"] == 4
    assert get_recipe("topk").builtin
    with pytest.raises(IsthmusError, match="'broken' of the package brokenpkg") as problem:
        get_recipe("broken")
    assert "No module named 'nowhere_at_all'" in str(problem.value)
    assert "\n" not in str(problem.value)
    assert set(broken_recipes()) == {"broken", "offered", "topk"}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        listed = recipes()
    assert len(said) == 3
    assert "bare-function" in listed
    assert "broken" not in listed


def test_two_packages_with_one_name_are_both_named(packages):
    with pytest.raises(IsthmusError, match="two recipes are called 'offered'") as problem:
        get_recipe("offered")
    text = str(problem.value)
    assert "goodpkg:offered (goodpkg 1.0)" in text
    assert "otherpkg:theirs (otherpkg 1.0)" in text
    assert as_recipe("otherpkg:theirs").source == "otherpkg:theirs"
    assert as_recipe("goodpkg:offered").parse({})[0]["k"] == 3


def test_a_function_that_another_made_is_known_by_the_name_asked_for(tmp_path, monkeypatch):
    (tmp_path / "factories.py").write_text(
        "from isthmus.recipes import get_recipe\n"
        "def factory():\n"
        "    def inner(signal, *, latent_dim: int = 2):\n"
        "        page = get_recipe('plain')\n"
        "        return page.build(signal, page.parse({'latent_dim': latent_dim})[0])\n"
        "    return inner\n"
        "narrow = factory()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert as_recipe("factories:narrow").source == "factories:narrow"
