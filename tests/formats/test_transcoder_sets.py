"""Transcoders of all layers are read as a set, and written so that circuit-tracer reads them."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import isthmus
from isthmus.formats import read_layers, write_layers
from peers import FIXTURES, layer_set, several_differences

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv" / "peers-formats" / "bin" / "python"
FOLDER = FIXTURES / "layers" / "circuit-tracer"
NAMES = {"model_name": "gpt2", "input_hook": "ln2.hook_normalized"}
LAYERS = 3


def rows(seed=0, n=96, d=6):
    return 3.0 * torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + 1.0


def transcoder(layer, **options):
    x = rows(layer)
    pair = {"in": x, "out": torch.tanh(x) + 0.5}
    return isthmus.fit("transcoder", pair, latent_dim=24, steps=4, batch_size=48, lr=3e-2,
                       seed=layer, progress=False, **options)  # fmt: skip


def data():
    parts = {}
    for layer in range(LAYERS):
        parts[f"{layer}:in"] = rows(layer)
        parts[f"{layer}:out"] = torch.tanh(rows(layer)) + 0.5
    return parts


def crossing(**options):
    return isthmus.fit("cross-layer-transcoder", data(), latent_dim=24, steps=4, batch_size=48,
                       lr=3e-2, seed=1, progress=False, **options)  # fmt: skip


KINDS = {
    "relu": {},
    "jumprelu-skip": {"activation": "jumprelu", "skip": True},
    "batchtopk": {"k": 4, "select": "batch"},
}
CROSSING = {
    "jumprelu": {},
    "relu": {"activation": "relu"},
    "batchtopk": {"k": 4},
    "batchtopk-each": {"k": 4, "select": "batch"},
}


def test_a_set_is_read_as_its_layers_and_computes_what_the_peer_did():
    found = load_file(FOLDER / "recorded.safetensors")
    layers = read_layers(FOLDER)
    assert list(layers) == [0, 1, 2]
    for layer, model in layers.items():
        x = {"in": found["x"][layer], "out": found["output"][layer]}
        torch.testing.assert_close(model.encode(x), found["codes"][layer], rtol=2e-6, atol=2e-5)
        torch.testing.assert_close(model.reconstruct(x), x["out"], rtol=2e-6, atol=1e-4)
        assert model.cfg.hook_name == f"blocks.{layer}.ln2.hook_normalized"
        assert model.cfg.metadata["source"].endswith(f"layer_{layer}.safetensors")


def test_folders_of_layers_are_a_set():
    folder = FIXTURES / "sparsify"
    with pytest.raises(isthmus.IsthmusError, match="no folder whose name tells a layer"):
        read_layers(folder)


def test_folders_by_hookpoint_are_read(tmp_path):
    for layer in (0, 3):
        shutil.copytree(FIXTURES / "sparsify" / "topk", tmp_path / f"layers.{layer}.mlp")
    layers = read_layers(tmp_path)
    assert list(layers) == [0, 3]
    assert layers[3].cfg.k == layers[0].cfg.k
    shutil.copytree(FIXTURES / "sparsify" / "topk", tmp_path / "layers.3.attn")
    with pytest.raises(isthmus.IsthmusError, match="two of layer 3"):
        read_layers(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_by_layer_reads_back(kind, tmp_path):
    layers = {layer: transcoder(layer, **KINDS[kind]) for layer in range(LAYERS)}
    write_layers(layers, tmp_path / "out", **NAMES)
    again = read_layers(tmp_path / "out")
    for layer, model in layers.items():
        x = {"in": rows(layer), "out": rows(layer)}
        torch.testing.assert_close(again[layer].encode(x), model.encode(x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again[layer].reconstruct(x), model.reconstruct(x),
                                   rtol=1e-4, atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("kind", CROSSING)
def test_what_is_written_across_layers_reads_back(kind, tmp_path):
    model, x = crossing(**CROSSING[kind]), data()
    write_layers(model, tmp_path / "out", **NAMES)
    again = isthmus.from_pretrained(tmp_path / "out")
    codes = model.encode(x)
    assert 0 < int((codes != 0).sum()) < codes.numel()
    torch.testing.assert_close(again.encode(x), codes, rtol=1e-4, atol=1e-4)
    rebuilt = again.reconstruct(x)
    for name, own in model.reconstruct(x).items():
        torch.testing.assert_close(rebuilt[name], own, rtol=1e-4, atol=1e-4)


def test_a_set_that_was_read_is_written_with_the_same_bytes(tmp_path):
    write_layers(read_layers(FOLDER), tmp_path / "out", **NAMES)
    for layer in range(LAYERS):
        name = f"layer_{layer}.safetensors"
        before, after = load_file(FOLDER / name), load_file(tmp_path / "out" / name)
        assert {*before} == {*after}
        for key in before:
            torch.testing.assert_close(after[key], before[key], rtol=1e-6, atol=0)


REFUSED = {
    "topk": (lambda: {0: transcoder(0, k=4)}, "thresholds first"),
    "a layer lacks": (lambda: {0: transcoder(0), 2: transcoder(2)}, "layers 0, 2"),
    "widths": (lambda: {0: transcoder(0), 1: smaller()}, "as many latents"),
    "one place": (lambda: {0: isthmus.fit("relu-l1", rows(), latent_dim=24, steps=2,
                                          progress=False)}, "one place"),
    "topk across": (lambda: crossing(k=4, select="row"), "thresholds first"),
    "no transcoder": (lambda: transcoder(0), "by layer"),
    "a skip across": (lambda: skipping(), "no matrix past the latents"),
}  # fmt: skip


def smaller():
    x = rows(1)
    return isthmus.fit("transcoder", {"in": x, "out": x}, latent_dim=16, steps=2, progress=False)


def skipping():
    model = crossing(skip=True)
    with torch.no_grad():
        model.decoder["0:out"].skip_weight.fill_(0.1)
    return model


@pytest.mark.parametrize("how", REFUSED)
def test_what_circuit_tracer_cannot_read_is_refused(how, tmp_path):
    make, said = REFUSED[how]
    with pytest.raises(isthmus.IsthmusError, match=said):
        write_layers(make(), tmp_path / "out", **NAMES)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="make fixtures builds the peers' environment")
def test_circuit_tracer_reads_what_is_written_with_the_same_numbers(tmp_path):
    x = data()
    stacked = torch.stack([x[f"{layer}:in"] for layer in range(LAYERS)])
    save_file({"x": stacked}, tmp_path / "x.safetensors")
    each = {f"each/{kind}": {layer: transcoder(layer, **KINDS[kind]) for layer in range(LAYERS)}
            for kind in KINDS}  # fmt: skip
    across = {f"across/{kind}": crossing(**CROSSING[kind]) for kind in CROSSING}
    for name, layers in {**each, **across}.items():
        write_layers(layers, tmp_path / name, **NAMES)
    words = [str(PEER), "-m", "tools.fixtures.sets", str(tmp_path)]
    subprocess.run(words, check=True, cwd=ROOT)
    for name, layers in each.items():
        found = load_file(tmp_path / name / "read.safetensors")
        for layer, model in layers.items():
            pair = {"in": x[f"{layer}:in"], "out": x[f"{layer}:out"]}
            torch.testing.assert_close(found["codes"][layer], model.encode(pair),
                                       rtol=1e-4, atol=1e-4)  # fmt: skip
            torch.testing.assert_close(found["output"][layer], model.reconstruct(pair),
                                       rtol=1e-4, atol=1e-4)  # fmt: skip
    for name, model in across.items():
        found = load_file(tmp_path / name / "read.safetensors")
        found["codes"] = torch.cat(list(found["codes"]), 1)
        assert max(several_differences(model, x, found)) < 1e-5


def test_skips_across_layers_are_in_the_replacement():
    from isthmus.interpretation.replacement import Replacement

    model, x, found = layer_set("gemma-scope-2-affine")
    replacement = Replacement.of(model)
    codes = replacement.codes({layer: x[f"{layer}:in"] for layer in range(LAYERS)})
    for target in range(LAYERS):
        written = replacement.biases[target] + x[f"{target}:in"] @ replacement.skips[target].T
        for layer in range(target + 1):
            written = written + codes[layer] @ replacement.writes[layer][target]
        torch.testing.assert_close(written, found["output"][target], rtol=1e-4, atol=1e-4)


def test_a_skip_across_layers_is_learnt():
    x = data()
    model = crossing(skip=True)
    weights = [model.decoder[f"{layer}:out"].skip_weight for layer in range(LAYERS)]
    assert all(bool((weight != 0).any()) for weight in weights)
    before = model.reconstruct(x)["1:out"]
    with torch.no_grad():
        weights[1].zero_()
    assert not torch.allclose(model.reconstruct(x)["1:out"], before)
    assert model.decode(model.encode(x, code=True))["0:out"].shape == (96, 6)
