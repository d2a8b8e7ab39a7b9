"""Crosscoders that peers wrote compute what they computed."""

import shutil

import pytest
import torch

import isthmus
from peers import CROSSCODERS, FIXTURES, crosscoder, several_differences

FOLDER = FIXTURES / "crosscoders"


@pytest.mark.parametrize("name", CROSSCODERS)
def test_codes_and_outputs_are_the_peers(name):
    model, rows, found = crosscoder(name)
    assert max(several_differences(model, rows, found)) < 2e-6
    assert torch.equal(model.encode(rows) != 0, found["codes"] != 0)


@pytest.mark.parametrize("name", ["jkminder-batchtopk-scaled", "llamascopium-relu"])
def test_what_was_read_is_an_ordinary_model(name, tmp_path):
    model, rows, _ = crosscoder(name)
    isthmus.save(model, tmp_path / "saved")
    again = isthmus.load(tmp_path / "saved")
    assert torch.equal(again.encode(rows), model.encode(rows))
    assert again.config["published"] == model.config["published"]
    other = {part: x.flip(0) for part, x in rows.items()}
    tuned = isthmus.fit(model.config["recipe"], other, start=model, steps=2, progress=False)
    assert not torch.equal(tuned.encode(rows), model.encode(rows))


def test_it_is_looked_at_without_its_weights():
    inspected = isthmus.formats.inspect(FOLDER / "jkminder-batchtopk")
    assert inspected.parameters == 3 * (8 * 32 * 2 + 8) + 32
    assert "crosscoders" in dict(inspected.lines())["layout"]
    assert inspected.record.k == 5


def test_a_scale_that_the_file_lacks_is_told():
    notes = isthmus.from_pretrained(FOLDER / "kissane").config["published"]["notes"]
    assert any("multiply yours first" in note for note in notes)


def changed(tmp_path, name, change):
    folder = tmp_path / "copy"
    shutil.copytree(FOLDER / name, folder)
    (path,) = folder.glob("*.pt")
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return folder


DAMAGE = {
    "bias": (lambda c: c.pop("decoder.bias"), "decoder.bias"),
    "layers": (lambda c: c.update({"decoder.weight": c["decoder.weight"][:2]}), "decoder.weight"),
    "untrained": (lambda c: c["threshold"].fill_(-1.0), "take a later checkpoint"),
    "lengths": (lambda c: c["code_normalization_id"].fill_(2), "other lengths"),
    "deviations": (lambda c: c["activation_global_scale"].fill_(1.0), "its own deviation"),
    "unknown": (lambda c: c.update(gate=torch.ones(3)), "gate"),
    "nan": (lambda c: c["encoder.weight"].fill_(torch.nan), "NaN"),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_what_would_be_read_wrongly_is_refused(how, tmp_path):
    change, said = DAMAGE[how]
    with pytest.raises(isthmus.IsthmusError, match=said):
        isthmus.from_pretrained(changed(tmp_path, "jkminder-batchtopk-scaled", change))


def test_layers_with_latents_of_their_own_are_refused(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(FOLDER / "llamascopium-relu", folder)
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"relu"', '"jumprelu"'))
    with pytest.raises(isthmus.IsthmusError, match="one code"):
        isthmus.from_pretrained(folder)
