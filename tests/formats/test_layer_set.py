"""Cross-layer transcoders that circuit-tracer wrote compute what it computed."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import isthmus
from peers import FIXTURES, layer_set

FOLDER = FIXTURES / "cross-layer"


@pytest.mark.parametrize("rule", ["relu", "jump_relu"])
def test_codes_and_outputs_are_the_peers(rule):
    model, rows, found = layer_set(rule)
    codes = torch.cat(list(found["codes"]), 1)
    torch.testing.assert_close(model.encode(rows), codes, atol=2e-5, rtol=2e-6)
    assert torch.equal(model.encode(rows) != 0, codes != 0)
    rebuilt = model.reconstruct(rows)
    for layer in range(len(found["codes"])):
        torch.testing.assert_close(rebuilt[f"{layer}:out"], found["output"][layer],
                                   atol=1e-4, rtol=2e-6)  # fmt: skip


@pytest.mark.parametrize("rule", ["relu", "jump_relu"])
def test_what_was_read_is_an_ordinary_model(rule, tmp_path):
    model, rows, _ = layer_set(rule)
    isthmus.save(model, tmp_path / "saved")
    again = isthmus.load(tmp_path / "saved")
    assert torch.equal(again.encode(rows), model.encode(rows))
    assert again.config["published"] == model.config["published"]
    other = {name: x.flip(0) for name, x in rows.items()}
    tuned = isthmus.fit(model.config["recipe"], other, start=model, steps=2, progress=False)
    assert not torch.equal(tuned.encode(rows), model.encode(rows))


def test_it_is_looked_at_without_its_weights_and_asks_for_nothing():
    inspected = isthmus.formats.inspect(FOLDER / "jump_relu")
    stored = 0
    for path in (FOLDER / "jump_relu").glob("W_*.safetensors"):
        stored += sum(tensor.numel() for tensor in load_file(path).values())
    assert inspected.parameters == stored
    assert "cross-layer" in dict(inspected.lines())["layout"]
    with pytest.raises(isthmus.IsthmusError, match="leave out k="):
        isthmus.from_pretrained(FOLDER / "relu", k=3)


def changed(tmp_path, name, change):
    folder = tmp_path / "copy"
    shutil.copytree(FOLDER / "jump_relu", folder)
    content = load_file(folder / name)
    change(content)
    save_file({key: value.contiguous() for key, value in content.items()}, folder / name)
    return folder


DAMAGE = {
    "bias": ("W_enc_1.safetensors", lambda c: c.pop("b_enc_1"), "lacks b_enc_1"),
    "order": ("W_dec_0.safetensors", lambda c: c.update(W_dec_0=c["W_dec_0"].transpose(0, 1)),
              "go by the layer that is read"),
    "skip": ("W_enc_2.safetensors", lambda c: c.update(W_skip=torch.ones(3)), "W_skip"),
    "nan": ("W_enc_2.safetensors", lambda c: c["W_enc_2"].fill_(torch.nan), "NaN"),
    "threshold": ("W_enc_2.safetensors", lambda c: c["threshold_2"].neg_(), "below zero"),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_what_would_be_read_wrongly_is_refused(how, tmp_path):
    name, change, said = DAMAGE[how]
    with pytest.raises(isthmus.IsthmusError, match=said):
        isthmus.from_pretrained(changed(tmp_path, name, change))


@pytest.mark.parametrize("name", ["W_enc_1.safetensors", "W_dec_2.safetensors"])
def test_a_layer_that_is_missing_is_named(name, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(FOLDER / "relu", folder)
    (folder / name).unlink()
    with pytest.raises(isthmus.IsthmusError, match="layers 0, 2" if "enc" in name else name):
        isthmus.from_pretrained(folder)
