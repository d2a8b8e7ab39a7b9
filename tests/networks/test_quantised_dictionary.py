"""Dictionaries in whole numbers: roundings by hand, codes of the rounded weights, files."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import isthmus
from commands import command, run
from isthmus.anatomy import Code, SparseCode
from isthmus.errors import IsthmusError
from isthmus.networks import quantised, quantised_dictionary
from isthmus.networks.quantised_dictionary import QuantisedWeight

X = np.random.default_rng(0).normal(0.5, 1.0, (300, 40)).astype(np.float32)
KINDS = {
    "topk": {"k": 4},
    "abstopk": {"k": 4},
    "batchtopk": {"k": 4},
    "jumprelu": {"l0": 4},
    "gated": {"l0": 4},
    "relu-l1": {"l0": 4},
    "llama-scope": {"k": 4},
    "matryoshka": {"k": 4},
    "msae": {"k": 4},
    "mp-sae": {"k": 4},
    "k-sparse": {"k": 4, "lr": 0.01},
    "k-means": {},
}


def fitted(recipe="topk", **options):
    options = {"latent_dim": 70, "steps": 25, "batch_size": 50, "lr": 3e-3, **options}
    options = {**KINDS[recipe], **options}
    if recipe == "k-means":
        options = {"latent_dim": 70}
    return isthmus.fit(recipe, X, progress=False, **options)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("d", [1, 31, 64, 75])
def test_each_number_is_the_nearest_of_its_scale(bits, d):
    weight = torch.randn(9, d, generator=torch.Generator().manual_seed(0))
    weight[3] = 0.0
    small = QuantisedWeight(weight, bits)
    group, most = (32, 7) if bits == 4 else (d, 127)
    for row, rounded in zip(weight.numpy(), small.rows().numpy(), strict=True):
        for start in range(0, d, group):
            part = row[start : start + group]
            scale = np.abs(part).max() / most
            expected = np.rint(part / scale) * scale if scale else part
            np.testing.assert_allclose(rounded[start : start + group], expected, atol=1e-6)
    assert torch.equal(small.rows(torch.tensor([5, 2])), small.rows()[[5, 2]])
    assert small.numbers.nbytes <= 9 * (d if bits == 8 else (d + 31) // 32 * 16)


@pytest.mark.parametrize("recipe", KINDS)
@pytest.mark.parametrize("bits", [8, 4])
def test_codes_and_reconstructions_are_those_of_the_rounded_weights(recipe, bits):
    model = fitted(recipe)
    small = quantised(model, bits)
    with torch.no_grad():
        encoder = getattr(model.encoder, "weight", None)
        if encoder is not None:
            encoder.copy_(QuantisedWeight(encoder, bits).rows())
        model.decoder.weight.copy_(QuantisedWeight(model.decoder.weight, bits).rows())
    np.testing.assert_allclose(small.encode(X), model.encode(X), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(small.reconstruct(X), model.reconstruct(X), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(small.atoms().detach(), model.atoms().detach(), rtol=1e-5, atol=1e-6)


def test_blocks_change_nothing(monkeypatch):
    small = quantised(fitted())
    whole = small.encode(X)
    monkeypatch.setattr(quantised_dictionary, "_BLOCK", 40 * 16)
    np.testing.assert_allclose(small.encode(X), whole, rtol=1e-5, atol=1e-6)
    values, indices = torch.rand(6, 3), torch.randint(70, (6, 3))
    code = SparseCode(values, indices, 70)
    torch.testing.assert_close(small.decoder.decode(code), small.decoder.decode(Code(code.z)))


def test_eight_bits_cost_little_and_four_more():
    model = fitted(steps=300)
    errors = [
        isthmus.evaluate(m, X)["fvu"].value for m in (model, quantised(model), quantised(model, 4))
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.01)
    assert errors[1] < errors[2] < 1.2 * errors[0]


@pytest.mark.parametrize("bits", [8, 4])
def test_it_is_saved_loaded_and_smaller(bits, tmp_path):
    model = fitted(out=tmp_path / "run", latent_dim=64)
    small = quantised(model, bits)
    isthmus.save(small, tmp_path / "small")
    loaded = isthmus.load(tmp_path / "small")
    np.testing.assert_array_equal(loaded.encode(X), small.encode(X))
    np.testing.assert_array_equal(loaded.reconstruct(X), small.reconstruct(X))
    assert isthmus.evaluate(loaded, X)["l0"].value == pytest.approx(4.0, abs=0.1)
    held = sum(t.nbytes for t in loaded.encoder.state_dict().values())
    numbers = 64 * 40 if bits == 8 else 64 * 64 // 2  # filled up to groups of 32
    assert held == numbers + 4 * 64 * (1 if bits == 8 else 2) + 4 * 64
    text = command(
        "quantise", str(tmp_path / "run"), "-o", str(tmp_path / "by"), "--bits", str(bits)
    )
    assert re.search(r": [1-9]\d* kB of weights, [1-9]\d* kB before", text)
    np.testing.assert_array_equal(isthmus.load(tmp_path / "by").encode(X), small.encode(X))


@pytest.mark.parametrize("recipe", ["mp-sae", "k-means"])
def test_a_tied_dictionary_is_held_once(recipe, tmp_path):
    model = fitted(recipe)
    small = quantised(model)
    isthmus.save(small, tmp_path / "small")
    loaded = isthmus.load(tmp_path / "small")
    np.testing.assert_array_equal(loaded.encode(X), small.encode(X))
    weights = {name: t for name, t in loaded.state_dict().items() if t.ndim == 2}
    assert [*weights] == ["decoder.quantised.numbers", "decoder.quantised.scales"]
    assert sum(t.nbytes for t in weights.values()) < 0.3 * model.decoder.weight.nbytes


def test_what_is_in_the_folder_stays(tmp_path):
    fitted(out=tmp_path / "run")
    for name, content in {"notes.txt": "mine", "config.json": "{}"}.items():
        place = tmp_path / name.partition(".")[0]
        place.mkdir()
        (place / name).write_text(content)
        said = run("quantise", tmp_path / "run", "-o", place, code=2)
        assert "is there already: name a folder that is new or empty" in " ".join(said.split())
        assert [path.name for path in place.iterdir()] == [name]
    (tmp_path / "empty").mkdir()
    command("quantise", str(tmp_path / "run"), "-o", str(tmp_path / "empty"))
    assert isthmus.load(tmp_path / "empty").config["quantised"] == 8


def test_a_folder_in_the_place_of_a_model_is_one_sentence():
    code = "from isthmus.networks import quantised; quantised('run', 8)"  # types are not checked
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "a str cannot be quantised: pass a model, isthmus.load(folder)" in done.stderr


def test_what_cannot_be_is_one_sentence(tmp_path):
    model = fitted(out=tmp_path / "run")
    small = quantised(model)
    with pytest.raises(IsthmusError, match="bits=3"):
        quantised(model, 3)
    with pytest.raises(IsthmusError, match="not quantised yet"):
        quantised(small)
    with pytest.raises(IsthmusError, match="for inference alone"):
        isthmus.fit(small, X, steps=1, progress=False)
    with pytest.raises(IsthmusError, match="for inference alone"):
        isthmus.fit("topk", X, start=small, steps=1, progress=False)
    assert "bits=5" in run("quantise", tmp_path / "run", "-o", tmp_path / "x", "--bits", 5, code=2)
    assert not (tmp_path / "x").exists()
    plain = isthmus.fit("plain", X, steps=1, progress=False)
    with pytest.raises(IsthmusError, match="linear dictionary"):
        quantised(plain)
