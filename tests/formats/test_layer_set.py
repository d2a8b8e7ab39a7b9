"""Cross-layer transcoders that peers wrote compute what they computed."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import isthmus
from isthmus.interpretation.replacement import Replacement
from peers import FIXTURES, LAYER_SETS, layer_set, several_differences

FOLDER = FIXTURES / "cross-layer"


@pytest.mark.parametrize("name", LAYER_SETS)
def test_codes_and_outputs_are_the_peers(name):
    model, rows, found = layer_set(name)
    assert max(several_differences(model, rows, found)) < 2e-6
    assert torch.equal(model.encode(rows) != 0, found["codes"] != 0)


@pytest.mark.parametrize("name", ["jump_relu", "gemma-scope-2-affine", "llamascopium-topk",
                                  "clt-training-untied"])  # fmt: skip
def test_what_was_read_is_an_ordinary_model(name, tmp_path):
    model, rows, _ = layer_set(name)
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


GEMMA = FIXTURES / "cross-layer" / "gemma-scope-2-affine"


def gemma(tmp_path):
    folder = tmp_path / "gemma"
    shutil.copytree(GEMMA, folder)
    return folder


def test_decoders_to_earlier_layers_count_as_nothing_and_are_counted(tmp_path):
    folder = gemma(tmp_path)
    path = folder / "params_layer_2.safetensors"
    content = load_file(path)
    content["w_dec"][:, 0] = 5.0
    save_file(content, path)
    model = isthmus.from_pretrained(folder)
    assert any("256 entries" in note for note in model.config["published"]["notes"])
    _, rows, found = layer_set("gemma-scope-2-affine")
    assert max(several_differences(model, rows, found)) < 2e-6


GEMMA_DAMAGE = {
    "a layer lacks": (lambda folder: (folder / "params_layer_1.safetensors").unlink(),
                      "files of 0, 2"),
    "two of one layer": (lambda folder: shutil.copy(folder / "params_layer_1.safetensors",
                                                    folder / "more_layer_1.safetensors"),
                         "several files of layer 1"),
    "a skip lacks": (lambda folder: without(folder / "params_layer_2.safetensors",
                                            "affine_skip_connection"), "lacks affine_skip"),
    "transposed": (lambda folder: turned(folder / "params_layer_2.safetensors", "w_enc"),
                   r"w_enc of shape \(32, 8\)"),
}  # fmt: skip


def without(path, name):
    content = load_file(path)
    del content[name]
    save_file(content, path)


def turned(path, name):
    content = load_file(path)
    content[name] = content[name].T.contiguous()
    save_file(content, path)


@pytest.mark.parametrize("how", GEMMA_DAMAGE)
def test_damaged_folders_of_gemma_scope_are_refused(how, tmp_path):
    change, said = GEMMA_DAMAGE[how]
    folder = gemma(tmp_path)
    change(folder)
    with pytest.raises(isthmus.IsthmusError, match=said):
        isthmus.from_pretrained(folder)


def test_one_file_of_gemma_scope_asks_for_the_folder():
    with pytest.raises(isthmus.IsthmusError, match="name the folder"):
        isthmus.from_pretrained(GEMMA / "params_layer_1.safetensors")


def llama(tmp_path, **settings):
    folder = tmp_path / "llama"
    shutil.copytree(FIXTURES / "cross-layer" / "llamascopium-topk", folder)
    cfg = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**cfg, **settings}))
    return folder


LLAMA_DAMAGE = {
    "batch": ({"act_fn": "batchlayertopk"}, "depends on the batch"),
    "together": ({"act_fn": "layertopk", "top_k": 7}, "a multiple of the number of layers"),
    "places": ({"hook_points_in": ["blocks.0.hook_resid_mid"]}, "names 1 places"),
    "scale": ({"norm_activation": "token-wise"}, "norm_activation='token-wise'"),
}


@pytest.mark.parametrize("how", LLAMA_DAMAGE)
def test_what_no_recipe_computes_is_refused(how, tmp_path):
    settings, said = LLAMA_DAMAGE[how]
    with pytest.raises(isthmus.IsthmusError, match=said):
        isthmus.from_pretrained(llama(tmp_path, **settings))


def clt(tmp_path, layer, settings=None, change=None):
    """A copy of a set of clt-training, a layer's settings or tensors changed."""
    folder = tmp_path / "clt"
    shutil.copytree(FIXTURES / "cross-layer" / "clt-training-untied", folder)
    inner = folder / f"layers.{layer}.mlp"
    cfg = json.loads((inner / "cfg.json").read_text())
    (inner / "cfg.json").write_text(json.dumps({**cfg, **(settings or {})}))
    if change is not None:
        content = load_file(inner / "sae.safetensors")
        change(content)
        save_file(content, inner / "sae.safetensors")
    return folder


CLT_DAMAGE = {
    "rule": (1, {"activation": "batchtopk"}, None, "activation='batchtopk' in layers.1.mlp"),
    "coalesced": (0, {"coalesce_topk": "per-layer"}, None, "coalesce_topk='per-layer'"),
    "again": (0, {"topk_coalesced": True}, None, "topk_coalesced=True"),
    "k": (2, {"k": 4}, None, "has other settings .* in layers.2.mlp"),
    "targets": (1, {"n_targets": 3}, None, "writes to 3 layers, and has 2 from there on"),
    "plain": (1, {"transcode": False}, None, "no transcoder in layers.1.mlp"),
    "unknown": (1, {"shift": 2}, None, "settings in layers.1.mlp that are not known"),
    "lacking": (0, {}, lambda c: c.pop("post_encs.1"), "lacks post_encs.1"),
    "more": (0, {}, lambda c: c.update(extra=torch.ones(1)), "extra"),
    "shape": (1, {}, lambda c: c.update({"b_decs.0": torch.ones(3)}), "b_decs.0 of shape"),
    "nan": (1, {}, lambda c: c["post_encs.1"].fill_(torch.nan), "NaN"),
}


@pytest.mark.parametrize("how", CLT_DAMAGE)
def test_damaged_sets_of_clt_training_are_refused(how, tmp_path):
    layer, settings, change, said = CLT_DAMAGE[how]
    with pytest.raises(isthmus.IsthmusError, match=said):
        isthmus.from_pretrained(clt(tmp_path, layer, settings, change))


def test_one_layer_of_clt_training_asks_for_the_folder(tmp_path):
    folder = clt(tmp_path, 0)
    with pytest.raises(isthmus.IsthmusError, match="name the folder that has those of all"):
        isthmus.from_pretrained(folder / "layers.0.mlp")
    for layer in (1, 2):
        shutil.rmtree(folder / f"layers.{layer}.mlp")
    with pytest.raises(isthmus.IsthmusError, match="one layer alone"):
        isthmus.from_pretrained(folder)


def test_constants_of_latents_are_in_no_graph_and_no_file_of_effects(tmp_path):
    model, _, _ = layer_set("clt-training-plain")
    with pytest.raises(isthmus.IsthmusError, match="onset"):
        Replacement.of(model)
    with pytest.raises(isthmus.IsthmusError, match="onset"):
        isthmus.formats.write_layers(model, tmp_path / "out", model_name="gpt2", input_hook="x")
