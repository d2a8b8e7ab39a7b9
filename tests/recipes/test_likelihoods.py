"""The option ``likelihood`` of recipes: every name trains, wrong data are refused."""

from typing import get_args

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Bernoulli, Gaussian, Signal
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.options import LikelihoodName, likelihood_for

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (64, 6))
DATA = {
    "real": RNG.normal(size=(64, 6)).astype(np.float32),
    "unit": (LEVELS / 255).astype(np.float32),
    "counts": RNG.poisson(3.0, (64, 6)).astype(np.float32),
}
KIND = {
    "bernoulli": "unit",
    "continuous-bernoulli": "unit",
    "discretised-logistic": "unit",
    "poisson": "counts",
    "negative-binomial": "counts",
    "zero-inflated-poisson": "counts",
    "zero-inflated-negative-binomial": "counts",
}
NAMES = [name for name in get_args(get_args(LikelihoodName)[0]) if name != "auto"]
SMALL = {"latent_dim": 2, "hidden": (8,), "progress": False, "scaling": "none"}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_trains_and_tells_its_likelihood(name):
    rows = DATA[KIND.get(name, "real")]
    model = isthmus.fit("vae", rows, likelihood=name, steps=30, lr=0.01, **SMALL)
    assert model.likelihood.name == name
    assert model.reconstruct(rows).shape == rows.shape
    assert np.isfinite(model.score(rows)).all()
    losses = [record["loss"] for record in model.history if "loss" in record]
    assert np.isfinite(losses).all()
    found = isthmus.evaluate(model, rows)
    assert np.isfinite(found["elbo"].value)
    true_bits = model.likelihood.discrete and name != "bernoulli"
    assert ("not binary" in found["elbo"].note) == (name == "bernoulli")
    if true_bits:
        assert found["elbo"].note == ""
        assert "bits_per_dim" in found


@pytest.mark.parametrize("recipe", ["beta-vae", "beta-tcvae", "iwae", "miwae", "denoising", "qlae"])
def test_several_numbers_reach_every_recipe_with_the_option(recipe):
    signal = Signal("vector", (6,), low=0.0, high=9.0)
    page = get_recipe(recipe)
    asked = {"likelihood": "zero-inflated-poisson", "hidden": (8,), "scaling": "none"}
    model = page.build(signal, page.parse(asked)[0])
    rows = torch.from_numpy(DATA["counts"])
    model.prepare(rows)
    params = model.decode_code(model.clean_code(rows))
    assert params.shape == (64, 6, 2)
    assert torch.isfinite(model.objective(model, model(rows)).total)


def test_burdas_decoder_starts_at_the_mean_of_the_counts():
    signal = Signal("vector", (6,), low=0.0, high=9.0)
    page = get_recipe("iwae")
    for name in ("poisson", "zero-inflated-poisson", "negative-binomial"):
        asked = {"likelihood": name, "hidden": (8,), "scaling": "none"}
        model = page.build(signal, page.parse(asked)[0])
        rows = torch.from_numpy(DATA["counts"])
        model.prepare(rows)
        for weights in model.decoder.decoder.parameters():
            torch.nn.init.zeros_(weights)
        start = model.likelihood.mean(model.decoder(torch.zeros(1, 50)))[0]
        torch.testing.assert_close(start, rows.mean(0))


def test_auto_is_as_it_was():
    unit_image = Signal("image", (1, 8, 8), "uint8", 0.0, 1.0)
    assert isinstance(likelihood_for(unit_image, "auto", 0.3), Bernoulli)
    for other in (Signal("vector", (3,), low=0.0, high=1.0), Signal("image", (1, 8, 8))):
        found = likelihood_for(other, "auto", 0.3)
        assert type(found) is Gaussian
        assert found.sigma == 0.3


def test_sigma_is_the_standard_deviation():
    for name in ("gaussian", "laplace", "learned-gaussian"):
        likelihood = likelihood_for(Signal("vector", (1,)), name, 0.3)
        params = torch.zeros(50_000, 1)
        drawn = likelihood.sample(params, generator=torch.Generator().manual_seed(0))
        assert drawn.std().item() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("name", sorted(KIND))
def test_a_range_that_does_not_fit_is_refused(name):
    for options in ({}, {"scaling": "columns"}):
        with pytest.raises(IsthmusError, match=f"likelihood={name} needs .*scaling=none") as error:
            isthmus.fit("vae", DATA["real"], likelihood=name, steps=1, progress=False, **options)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["poisson", "discretised-logistic"])
def test_values_between_the_whole_numbers_are_refused_before_the_first_step(name):
    rows = DATA["unit"] * 0.987
    with pytest.raises(IsthmusError, match=f"likelihood {name} needs .* hold 0"):
        isthmus.fit("vae", rows, likelihood=name, steps=1, **SMALL)


def test_bytes_of_images_are_no_counts():
    images = LEVELS.astype(np.uint8).reshape(6, 8, 8)
    with pytest.raises(IsthmusError, match="fractions of 255"):
        isthmus.fit("vae", images, likelihood="poisson", steps=1, progress=False)


def test_bigan_and_swae_know_only_the_range():
    for recipe in ("bigan", "swae"):
        with pytest.raises(IsthmusError, match="likelihood"):
            get_recipe(recipe).parse({"likelihood": "poisson"})


@pytest.mark.parametrize("name", ["learned-gaussian", "full-gaussian", "negative-binomial"])
def test_a_saved_model_keeps_what_its_likelihood_learned(name, tmp_path):
    rows = DATA[KIND.get(name, "real")]
    model = isthmus.fit("vae", rows, likelihood=name, steps=30, lr=0.01, **SMALL)
    isthmus.save(model, tmp_path / "model")
    again = isthmus.load(tmp_path / "model")
    assert np.array_equal(again.score(rows), model.score(rows))
    learned = dict(again.likelihood.named_parameters())
    for key, value in model.likelihood.named_parameters():
        assert (value != torch.zeros_like(value)).any(), "it was trained"
        assert torch.equal(value, learned[key])
