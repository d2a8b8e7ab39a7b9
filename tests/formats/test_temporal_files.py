"""Temporal dictionaries of SAELens and of the authors compute what SAELens computes."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import isthmus
from peers import FIXTURES, TEXTS, temporal, text_differences

FOLDER = FIXTURES / "temporal"


@pytest.mark.parametrize("name", TEXTS)
def test_codes_predictions_and_outputs_are_the_peers(name):
    model, x, found = temporal(name)
    assert max(text_differences(model, x, found)) < 2e-6
    assert torch.equal(model.encode(x) != 0, found["codes"] != 0)


@pytest.mark.parametrize("name", TEXTS)
def test_what_was_read_is_an_ordinary_model(name, tmp_path):
    model, x, _ = temporal(name)
    isthmus.save(model, tmp_path / "saved")
    again = isthmus.load(tmp_path / "saved")
    assert torch.equal(again.encode(x), model.encode(x))
    assert again.config["published"]["context"] in (1, 2)
    longer = torch.cat([x, x], 1)
    assert torch.allclose(model.encode(longer)[:, : x.shape[1]], model.encode(x), atol=1e-6)
    tuned = isthmus.fit("temporal", [*x.numpy()], start=model, steps=2, progress=False)
    assert not torch.equal(tuned.encode(x), model.encode(x))


def test_it_is_looked_at_without_its_weights():
    inspected = isthmus.formats.inspect(FOLDER / "authors")
    lines = dict(inspected.lines())
    assert lines["model"] == "google/gemma-2-2b"
    assert "p what is predicted" in lines["computes"]
    assert inspected.parameters == 32 * 8 + 8 + 4 * (32 * 32 + 32)
    assert inspected.record.input_scale == 0.37


def changed(tmp_path, name, change):
    folder = tmp_path / "copy"
    shutil.copytree(FOLDER / name, folder)
    (path,) = (p for p in folder.glob("*.safetensors") if p.name != "recorded.safetensors")
    (folder / "recorded.safetensors").unlink()
    weights = load_file(path)
    if name == "authors":
        conf = folder / "conf.yaml"
        conf.write_text(change(weights, conf.read_text()) or conf.read_text())
    else:
        cfg = json.loads((folder / "cfg.json").read_text())
        change(weights, cfg)
        (folder / "cfg.json").write_text(json.dumps(cfg))
    save_file(weights, path)
    return folder


def wider(text, factor):
    """The settings with another number of latents for each element."""
    return text.replace("exp_factor: 4", f"exp_factor: {factor}")


DAMAGE = {
    "k": ("authors", lambda w, t: t.replace("kval_topk: 5", "kval_topk: 40"), "of 32 latents"),
    "kind": ("authors", lambda w, t: t.replace("diff_type: topk", "diff_type: batchtopk"), "batch"),
    "width": ("authors", lambda w, t: t.replace("exp_factor: 4", "exp_factor: 2"), "of shape"),
    "no width": ("authors", lambda w, t: wider(t, "wide"), "exp_factor"),
    "quoted width": ("authors", lambda w, t: wider(t, '"4"'), "'4'"),
    "unknown width": ("authors", lambda w, t: wider(t, "null"), "None"),
    "endless width": ("authors", lambda w, t: wider(t, "1e400"), "inf"),
    "factor": ("authors", lambda w, t: t.replace("scaling_factor: 0.37", ""), "scaling_factor"),
    "no sections": ("authors", lambda w, t: "nothing", "says nothing of sae"),
    "bias": ("authors", lambda w, t: w.pop("attn_layers.0.k_ctx.bias"), "lacks"),
    "another": ("authors", lambda w, t: w.update(E=torch.ones(8, 32)), "not known"),
    "nan": ("authors", lambda w, t: w["D"].fill_(torch.nan), "NaN"),
    "norm": ("topk", lambda w, c: c.update(normalize_activations="layer_norm"), "layer_norm"),
    "setting": ("topk", lambda w, c: c.update(window=4), "window"),
    "heads": ("topk", lambda w, c: c.update(n_heads=5), "do not divide"),
    "apart": ("relu-untied", lambda w, c: c.update(apply_b_dec_to_input=False), "b_dec"),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_what_would_be_read_wrongly_is_refused(how, tmp_path):
    name, change, said = DAMAGE[how]

    def act(weights, settings):
        answer = change(weights, settings)
        return answer if isinstance(answer, str) else None

    with pytest.raises(isthmus.IsthmusError, match=said):
        isthmus.from_pretrained(changed(tmp_path, name, act))
