"""How data are read: said by options everywhere, and the same again wherever a run goes on."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import isthmus
from isthmus import notices
from isthmus.cli import app
from isthmus.comparison import compare
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe

DIGITS = (load_digits().images[:80] / 16).astype(np.float32)
SMALL = {"latent_dim": 3, "steps": 3, "progress": False}


def fit(recipe, X, **options):
    with notices.collected(quiet=True):
        return isthmus.fit(recipe, X, **{**SMALL, **options})


def test_the_kind_is_written_and_read_again(tmp_path):
    np.save(tmp_path / "x.npy", DIGITS)
    for kind in ("series", "image", None):
        folder = tmp_path / str(kind)
        model = fit("plain", str(tmp_path / "x.npy"), kind=kind, out=folder)
        assert model.signal.kind == (kind or "image")
        assert model.config["data"].get("reading") == ({"kind": kind} if kind else None)
        with notices.collected(quiet=True):
            loaded = isthmus.load(folder)
            for data in (DIGITS, str(tmp_path / "x.npy"), DIGITS.astype("f8")):
                assert isthmus.evaluate(loaded, data)["fvu"].n == 80
            isthmus.resume(folder)
            assert isthmus.load(folder).reconstruct(DIGITS).shape == DIGITS.shape


def test_noise_is_read_as_the_model_reads_it():
    model = fit("plain", DIGITS)
    noise = np.random.default_rng(0).random((20, 8, 8), dtype=np.float32)
    with notices.collected(quiet=True):
        assert isthmus.evaluate(model, noise)["fvu"].value > 0
    assert model.encode(noise).shape == (20, 3)


def test_fit_many_and_compare_take_the_same_options(tmp_path):
    with notices.collected(quiet=True):
        models = isthmus.fit_many(["plain", "vae"], DIGITS, kind="series", **SMALL)
        assert {m.signal.kind for m in models.values()} == {"series"}
        found = compare(DIGITS, ["plain"], "reconstruct", seeds=1, steps=2, kind="series")
        assert not found.left_out
        with pytest.raises(IsthmusError, match="unknown kind"):
            compare(DIGITS, ["plain"], "reconstruct", kind="serie")


def test_an_option_of_the_recipes_own_keeps_its_name():
    def own(signal, *, size: int = 3) -> isthmus.Autoencoder:
        return get_recipe("plain").build_function(signal, latent_dim=size)

    rows = DIGITS.reshape(80, -1)
    model = isthmus.fit(own, rows, size=5, steps=1, progress=False)
    assert model.encode(rows).shape == (80, 5)


def test_a_folder_of_photographs_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "mixed").mkdir()
    for number in range(12):
        size = (40 + number, 30 + number % 3, 3)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(f"mixed/{number:02}.png")
    run = CliRunner().invoke
    tail = ["latent_dim=2", "steps=2", "network=mlp", "-q", "-o"]
    refused = run(app, ["fit", "vae", "mixed", *tail, "m1"])
    assert isinstance(refused.exception, IsthmusError)
    assert "add size=30 (or size=WIDTHxHEIGHT)" in str(refused.exception)
    assert not (tmp_path / "m1").exists()
    for name, asked in (("m2", "size=16"), ("m3", "size=16x12"), ("m4", "mode=grey")):
        more = ["size=8"] if name == "m4" else []
        done = run(app, ["fit", "vae", "mixed", asked, *more, *tail, name])
        assert done.exception is None, done.exception
        done = run(app, ["evaluate", name, "--samples", "1"])
        assert done.exception is None, done.exception
        done = run(app, ["encode", name, "mixed", "-o", f"{name}.npz"])
        assert done.exception is None, done.exception
    shape = isthmus.load("m3").sample(2)
    assert shape.dtype == torch.uint8
    assert tuple(shape.shape) == (2, 12, 16, 3)
    assert tuple(isthmus.load("m4").sample(2).shape) == (2, 8, 8)


@pytest.mark.parametrize(
    ("fitted_on", "given", "words"),
    [
        (DIGITS, DIGITS * 255, "went from 0 to 1"),
        (DIGITS, (DIGITS * 255).astype(np.uint8), "got bytes"),
        ((DIGITS * 255).astype(np.uint8), DIGITS * 255, "as fractions of bytes"),
        (DIGITS * 2 - 1, DIGITS * 255, "went from -1 to 1"),
        (DIGITS * 255, DIGITS * 65535, "went from 0 to 255"),
    ],
)
def test_images_in_other_units_are_one_sentence(fitted_on, given, words):
    model = fit("vae", fitted_on, network="mlp")
    for verb in (model.encode, model.score, model.reconstruct):
        with pytest.raises(IsthmusError, match=words):
            verb(given)
    if given.dtype != np.uint8:
        with pytest.raises(IsthmusError, match=words), notices.collected(quiet=True):
            isthmus.evaluate(model, given, samples=1)


def test_images_of_a_unit_that_is_smaller_are_said_and_bytes_for_floats_refused():
    model = fit("vae", DIGITS * 255, network="mlp")
    with notices.collected(quiet=True) as said:
        model.score(DIGITS)
    assert "bring them to the same units" in said[0]
    data = (DIGITS * 255).astype(np.uint8)
    assert np.allclose(model.score(data), model.score(data.astype("f4")))
    with pytest.raises(IsthmusError, match=r"X.astype\('float32'\)"):
        isthmus.evaluate(model, data, samples=1)


def test_a_slight_excess_and_outliers_of_tables_are_fine():
    model = fit("vae", DIGITS, network="mlp")
    with notices.collected(quiet=True) as said:
        model.score(DIGITS * 1.4 - 0.2)
        model.score((DIGITS * 255).astype(np.uint8) / 255)
    assert said == []
    rows = DIGITS.reshape(80, -1)
    assert np.isfinite(fit("plain", rows).score(rows * 1000)).all()


def test_tokens_without_bound_are_one_sentence():
    with pytest.raises(IsthmusError, match="the token 1099511627776"):
        fit("text-vae", np.full((9, 5), 2**40), kind="tokens")
    with pytest.raises(IsthmusError, match="the token 1099511627776"):
        fit("text-vae", [np.full(3 + i % 2, 2**40) for i in range(9)], kind="tokens")


def test_ragged_series_are_answered_with_what_to_do():
    ragged = [np.random.default_rng(0).normal(size=(5 + i % 3, 2)) for i in range(20)]
    with pytest.raises(IsthmusError, match=r"np.stack\(\[x\[:n\] for x in X\]\)"):
        fit("plain", ragged)
