"""Recipes by name: options, near misses, scaling, tables."""

from typing import Annotated

import numpy as np
import pytest
from pydantic import Field
from torch import nn

from isthmus.anatomy import Autoencoder, Signal
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe, option_table, recipe, recipes
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
        (lambda: parse("plain", scaling="rows"), "scaling='rows' is not allowed"),
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
    with pytest.raises(ValueError, match="two recipes are called 'toy'"):
        page()(toy)


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
