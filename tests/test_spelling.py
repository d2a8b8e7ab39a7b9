"""Options are understood in American spelling wherever they are taken."""

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import isthmus
from commands import command
from isthmus.anatomy import Reading
from isthmus.cli import app
from isthmus.comparison import compare
from isthmus.errors import IsthmusError
from isthmus.estimators import AutoencoderTransformer
from isthmus.recipes import get_recipe, list_recipes
from isthmus.spelling import folded, known_names
from isthmus.training import TrainingOptions

X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
QUICK = {"latent_dim": 2, "steps": 2, "batch_size": 16, "progress": False}


@pytest.mark.parametrize(
    ("american", "british"),
    [
        ("optimizer", "optimiser"), ("optimizer_options", "optimiser_options"),
        ("normalize", "normalise"), ("binarize", "binarise"), ("quantize", "quantise"),
        ("center", "centre"), ("centered", "centred"), ("centering", "centring"),
        ("centers", "centres"), ("color", "colour"), ("colors", "colours"), ("gray", "grey"),
        ("neighbors", "neighbours"), ("labeled", "labelled"), ("behavior", "behaviour"),
        ("initialization", "initialisation"), ("regularizer", "regulariser"),
        ("discretized-logistic", "discretised-logistic"), ("analyze", "analyse"),
    ],
)  # fmt: skip
def test_american_words_are_folded_to_british_ones(american, british):
    assert folded(american) == folded(british) == british


@pytest.mark.parametrize(
    "word", ["size", "batch_size", "resize", "horizon", "label", "entered", "decolor", "maize"]
)
def test_words_that_are_spelt_alike_stay_as_they_are(word):
    assert folded(word) == word


def test_no_two_options_of_a_recipe_are_one_word():
    for recipe in list_recipes().values():
        names = [*recipe.model_options.model_fields, *TrainingOptions.model_fields]
        assert len({folded(name) for name in names}) == len(names)
        assert all(folded(name) == name for name in names), "options are spelt in one way"


def test_every_option_is_known_by_either_spelling():
    _, training = get_recipe("plain").parse({"optimizer": "sgd", "optimizer_options": {"lr": 1}})
    assert (training.optimiser, training.optimiser_options) == ("sgd", {"lr": 1})
    assert get_recipe("mae").parse({"normalize": False})[0]["normalise"] is False
    assert get_recipe("iwae").parse({"binarize": False})[0]["binarise"] is False
    assert get_recipe("plain").parse({"scaling": "centered"})[0]["scaling"] == "centred"
    model, _ = get_recipe("vae").parse({"likelihood": "discretized-logistic"})
    assert model["likelihood"] == "discretised-logistic"


def test_both_spellings_at_once_are_one_sentence():
    with pytest.raises(IsthmusError, match="optimiser and optimizer are one option in two"):
        get_recipe("plain").parse({"optimiser": "adam", "optimizer": "sgd"})
    with pytest.raises(IsthmusError, match="optimizer and optimiser are one option in two"):
        isthmus.fit("plain", X, optimizer="adam", optimiser="sgd", **QUICK)


def test_an_option_of_ones_own_is_known_in_both_spellings_too():
    assert known_names({"colour": 1}, ["color"]) == {"color": 1}
    assert known_names({"color": 1}, ["color", "colour"]) == {"color": 1}
    assert known_names({"tint": 1}, ["color"]) == {"tint": 1}


def test_fits_of_either_spelling_end_on_the_same_bits_and_say_it_in_one_way():
    here = isthmus.fit("plain", X, optimiser="sgd", optimiser_options={"momentum": 0.9}, **QUICK)
    there = isthmus.fit("plain", X, optimizer="sgd", optimizer_options={"momentum": 0.9}, **QUICK)
    assert there.config["training"] == here.config["training"]
    assert here.config["training"]["optimiser"] == "sgd"
    np.testing.assert_array_equal(here.encode(X), there.encode(X))
    there = isthmus.fit(there, X, optimizer="adam", optimizer_options={}, steps=1, progress=False)
    assert there.config["training"]["optimiser"] == "adam"


def test_many_fits_an_estimator_and_a_comparison_take_either(tmp_path):
    models = isthmus.fit_many(
        [("plain", {"optimizer": "sgd"}), {"recipe": "plain", "optimiser": "adam"}], X,
        optimizer="lars", **QUICK,
    )  # fmt: skip
    assert [m.config["training"]["optimiser"] for m in models.values()] == ["sgd", "adam"]
    assert set(models) == {"plain-optimiser-sgd", "plain-optimiser-adam"}
    fitted = AutoencoderTransformer(
        "plain", latent_dim=2, steps=2, options={"optimizer": "sgd"}
    ).fit(X)
    assert fitted.model_.config["training"]["optimiser"] == "sgd"
    found = compare(
        X, ["plain"], "reconstruct", seeds=1, steps=2, latents=2, width=8,
        options={"plain": {"optimizer": "sgd"}},
    )  # fmt: skip
    assert "plain" in found.ranking


def test_pictures_are_gray_or_grey():
    assert Reading.checked(mode="gray").mode == Reading.checked(mode="grey").mode == "grey"
    assert Reading.checked(mode="color").mode == Reading.checked(mode="colour").mode == "rgb"


def test_the_command_line_takes_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    command("fit", "plain", "x.npy", "steps=2", "optimizer=sgd", "-o", "run", "-q")
    assert isthmus.load("run").config["training"]["optimiser"] == "sgd"


def test_flags_have_both_spellings():
    own = typer.Typer(context_settings=app.info.context_settings)

    @own.command()
    def paint(colour: str = "", size: int = 1) -> None:
        print(colour, size)

    for flag in ("--colour", "--color"):
        assert CliRunner().invoke(own, [flag, "red", "--size", "3"]).output == "red 3\n"


@pytest.mark.parametrize(
    ("recipe", "option"), [("plain", "scaling"), ("topk", "revive"), ("transcoder", "weighting")]
)
def test_none_is_a_word_where_an_option_has_it(recipe, option):
    """The command line and .toml files read it as None, which these options do not take."""
    assert get_recipe(recipe).parse({option: None})[0][option] == "none"


def test_none_is_a_word_on_the_command_line(tmp_path):
    np.save(tmp_path / "x.npy", X)
    asked = ["plain", str(tmp_path / "x.npy"), "scaling=none", "latent_dim=2", "steps=2", "-q"]
    command("fit", *asked, "-o", str(tmp_path / "run"))
    assert isthmus.load(tmp_path / "run").scaler.mode == "none"
