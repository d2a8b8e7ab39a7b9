"""Exported graphs give the model's numbers, in PyTorch and onnxruntime, on any number of rows."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import IsthmusError
from isthmus.runs import graph

ROWS = np.random.default_rng(0).standard_normal((120, 12)).astype(np.float32) * 3 + 1
IMAGES = np.random.default_rng(1).random((60, 1, 8, 8)).astype(np.float32)
pytestmark = pytest.mark.usefixtures("without_gradients")
SMALL = {"steps": 4, "progress": False, "batch_size": 32, "seed": 0}
DICTIONARY = {**SMALL, "latent_dim": 96}


@pytest.fixture
def without_gradients():
    with torch.no_grad():
        yield


def fitted(recipe, x=ROWS, **options):
    with torch.enable_grad():
        return isthmus.fit(recipe, x, **{**SMALL, **options})


@pytest.fixture(scope="module")
def models():
    return {
        "vae": fitted("vae", latent_dim=3),
        "topk": fitted("topk", **DICTIONARY, k=3, k_aux=8),
        "jumprelu": fitted("jumprelu", **DICTIONARY),
        "batchtopk": fitted("batchtopk", **DICTIONARY, k=3, k_aux=8),
        "gated": fitted("gated", **DICTIONARY),
        "k-sparse": fitted("k-sparse", latent_dim=96, k=3),
        "msae": fitted("msae", latent_dim=96),
        "vq-vae": fitted("vq-vae", IMAGES),
        "mae": fitted("mae", IMAGES),
        "daef": isthmus.fit("daef", ROWS, latent_dim=3, progress=False),
    }


def rows_of(model):
    return IMAGES[:7] if model.signal.kind == "image" else ROWS[:7]


@pytest.mark.parametrize(
    "recipe",
    ["vae", "topk", "jumprelu", "batchtopk", "gated", "k-sparse", "msae", "vq-vae", "mae", "daef"],
)
def test_a_graph_of_torch_has_the_models_numbers(models, recipe, tmp_path):
    model = models[recipe]
    about = graph.export(model, tmp_path / "model.pt2")
    extra = {"isthmus.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    x = torch.as_tensor(rows_of(model))
    z, recon = program(x)
    np.testing.assert_allclose(z, model.encode(x), atol=1e-5)
    np.testing.assert_allclose(recon, model.reconstruct(x), atol=1e-4)
    assert about["outputs"] == ["z", "reconstruction"]
    assert recipe in extra["isthmus.json"]


@pytest.mark.parametrize("recipe", ["vae", "topk", "vq-vae"])
def test_onnxruntime_gives_the_models_numbers(models, recipe, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, path = models[recipe], tmp_path / "model.onnx"
    graph.export(model, path)
    session = runtime.InferenceSession(str(path))
    x = rows_of(model)
    z, recon = session.run(["z", "reconstruction"], {"x": x})
    np.testing.assert_allclose(z, model.encode(x), atol=1e-5)
    np.testing.assert_allclose(recon, model.reconstruct(x), atol=1e-4)
    known = session.get_modelmeta().custom_metadata_map
    assert known["isthmus.recipe"] == recipe
    one = session.run(["z"], {"x": x[:1]})[0]
    np.testing.assert_allclose(one, z[:1], atol=1e-5)


@pytest.mark.parametrize("recipe", ["vae", "topk"])
def test_the_encoder_and_the_decoder_alone(models, recipe, tmp_path):
    model, x = models[recipe], torch.as_tensor(ROWS[:9])
    graph.export(model, tmp_path / "e.pt2", piece="encoder")
    about = graph.export(model, tmp_path / "d.pt2", piece="decoder")
    z = torch.export.load(tmp_path / "e.pt2").module()(x)
    np.testing.assert_allclose(z, model.encode(x), atol=1e-5)
    recon = torch.export.load(tmp_path / "d.pt2").module()(z)
    np.testing.assert_allclose(recon, model.decode(z), atol=1e-4)
    assert about["inputs"] == {"z": [z.shape[1]]}


def test_each_part_of_a_collection_is_an_input(tmp_path):
    both = {"a": ROWS[:, :5].copy(), "b": ROWS[:, 5:].copy()}
    model = fitted("crosscoder", both, latent_dim=96)
    about = graph.export(model, tmp_path / "model.pt2")
    assert about["inputs"] == {"a": [5], "b": [7]}
    x = {name: torch.as_tensor(part[:6]) for name, part in both.items()}
    z, recon = torch.export.load(tmp_path / "model.pt2").module()(x)
    np.testing.assert_allclose(z, model.encode(x), atol=1e-5)
    for name, part in model.reconstruct(x).items():
        np.testing.assert_allclose(recon[name], part, atol=1e-4)


def test_exporting_leaves_the_model_as_it_was(models, tmp_path):
    for recipe in ("topk", "k-sparse"):
        model = models[recipe]
        before, names = model.encode(ROWS[:5]), [*model.state_dict()]
        graph.export(model, tmp_path / "model.pt2", piece="encoder")
        np.testing.assert_array_equal(model.encode(ROWS[:5]), before)
        assert [*model.state_dict()] == names


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("model.bin", {}, "end it in .onnx or .pt2"),
        ("model.pt2", {"to": "onnx"}, "ends in .onnx"),
        ("model.pt2", {"to": "tflite"}, "tflite"),
        ("model.pt2", {"piece": "head"}, "head"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence(models, tmp_path, name, options, said):
    with pytest.raises(IsthmusError, match=said):
        graph.export(models["vae"], tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_traced_is_said_and_nothing_is_written(tmp_path):
    for recipe, x, piece, said in [
        ("gon", ROWS, "encoder", "cannot be traced"),
        ("simsiam", IMAGES, "both", "no decoder"),
        ("text-vae", ["one", "two", "three"] * 20, "encoder", "different lengths|tokens"),
        ("mae", IMAGES, "decoder", "piece='both'"),
    ]:
        model = fitted(recipe, x, steps=2)
        with pytest.raises(IsthmusError, match=said):
            graph.export(model, tmp_path / "model.pt2", piece=piece)
    assert not list(tmp_path.iterdir())


def test_a_code_that_depends_on_the_batch_is_refused(models, tmp_path, monkeypatch):
    class Centred(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.clean_code(self.model.scaler(x)).z + x.shape[0]

    monkeypatch.setitem(graph._PIECES, "encoder", Centred)
    graph.export(models["vae"], tmp_path / "fine.pt2", piece="encoder")
    calls = []

    class Moody(Centred):
        def forward(self, x):
            calls.append(1)
            return self.model.clean_code(self.model.scaler(x)).z + float(len(calls))

    monkeypatch.setitem(graph._PIECES, "encoder", Moody)
    with pytest.raises(IsthmusError, match="differs"):
        graph.export(models["vae"], tmp_path / "model.pt2", piece="encoder")
    assert not (tmp_path / "model.pt2").exists()


def test_without_onnxscript_the_remedy_is_said(models, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(IsthmusError, match="pip install"):
        graph.export(models["vae"], tmp_path / "model.onnx")
