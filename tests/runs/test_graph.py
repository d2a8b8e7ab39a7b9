"""Exported graphs give the model's numbers, in PyTorch and onnxruntime, on any number of rows."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Autoencoder
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
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


def test_a_table_names_its_features_in_order(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"size": ROWS[:, 0], "kind": ["a", "b", "c"] * 40})
    model = fitted("plain", frame, latent_dim=2)
    about = graph.export(model, tmp_path / "model.pt2", piece="encoder")
    assert len(about["features"]) == about["inputs"]["x"][0]
    assert about["features"][0] == "size"
    assert "without gaps" in about["reads"]
    extra = {"isthmus.json": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert '"features": ["size"' in extra["isthmus.json"]


def test_more_weights_than_one_onnx_file_holds(models, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(graph, "LARGEST", 100)
    with pytest.raises(IsthmusError, match=r"write a \.pt2"):
        graph.export(models["vae"], tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


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
        ("model.bin", {}, "end it in .onnx or .pt2$"),
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


def test_outputs_of_a_collection_are_named_by_its_parts(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    both = {"b": ROWS[:, :5].copy(), "a": ROWS[:, 5:].copy()}
    model, path = fitted("crosscoder", both, latent_dim=96), tmp_path / "model.onnx"
    about = graph.export(model, path)
    assert about["outputs"] == ["z", "reconstruction.b", "reconstruction.a"]
    session = runtime.InferenceSession(str(path))
    assert [one.shape[0] for one in (*session.get_inputs(), *session.get_outputs())] == ["rows"] * 5
    x = {name: part[:6] for name, part in both.items()}
    for name, part in model.reconstruct(x).items():
        (found,) = session.run([f"reconstruction.{name}"], x)
        np.testing.assert_allclose(found, part, atol=1e-4)


def test_a_part_that_is_called_like_an_output_is_said(tmp_path):
    pytest.importorskip("onnxscript")
    model = fitted("crosscoder", {"z": ROWS[:, :5].copy(), "y": ROWS[:, 5:].copy()}, latent_dim=96)
    with pytest.raises(IsthmusError, match="'z' is a part of the data and an output"):
        graph.export(model, tmp_path / "model.onnx")
    graph.export(model, tmp_path / "model.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


@pytest.mark.parametrize("recipe", ["mvae", "mmvae", "mopoe"])
def test_several_modalities_are_traced(recipe, tmp_path):
    both = {"a": ROWS[:, :5].copy(), "b": ROWS[:, 5:].copy()}
    model = fitted(recipe, both, latent_dim=3)
    graph.export(model, tmp_path / "model.pt2")
    x = {name: torch.as_tensor(part[:6]) for name, part in both.items()}
    z, recon = torch.export.load(tmp_path / "model.pt2").module()(x)
    np.testing.assert_allclose(z, model.encode(x), atol=1e-5)
    for name, part in model.reconstruct(x).items():
        np.testing.assert_allclose(recon[name], part, atol=1e-4)


def test_rows_that_have_a_scale_of_their_own_get_it_back(tmp_path):
    model = fitted("plain", ROWS, latent_dim=3, scaling="rows")
    graph.export(model, tmp_path / "model.pt2")
    z, recon = torch.export.load(tmp_path / "model.pt2").module()(torch.as_tensor(ROWS[:7]))
    np.testing.assert_allclose(z, model.encode(ROWS[:7]), atol=1e-5)
    np.testing.assert_allclose(recon, model.reconstruct(ROWS[:7]), atol=1e-4)


def test_a_trace_that_fails_prints_nothing_else(models, tmp_path, monkeypatch, capfd):
    class Hasty(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return x[: int(x.abs().sum())]

    monkeypatch.setitem(graph._PIECES, "encoder", Hasty)
    with pytest.raises(IsthmusError, match="the encoder of vae cannot be traced"):
        graph.export(models["vae"], tmp_path / "model.pt2", piece="encoder")
    assert capfd.readouterr() == ("", "")


def test_a_model_that_asks_for_more_than_rows_says_so(tmp_path):
    class Labelled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder, self.embedding = torch.nn.Linear(3, 12), torch.nn.Embedding(2, 3)

        def forward(self, z, *, given):
            return self.decoder(z + self.embedding(given["label"]))

    def labelled(signal) -> Autoencoder:
        """A code whose decoder knows the label."""
        return Autoencoder(
            signal,
            encoder=torch.nn.Linear(12, 3),
            bottleneck=Identity(),
            decoder=Labelled(),
            objective=MSE(),
        )

    label = np.arange(len(ROWS)) % 2
    model = fitted(labelled, ROWS, given={"label": label})
    with pytest.raises(IsthmusError, match=r"cannot be exported.*'x' and nothing else.*'label'"):
        graph.export(model, tmp_path / "model.pt2")
    graph.export(model, tmp_path / "encoder.pt2", piece="encoder")


@pytest.mark.parametrize("size", [1e-6, 1.0])
def test_a_graph_is_judged_in_the_units_of_its_numbers(models, tmp_path, monkeypatch, size):
    calls = []

    class Drifting(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            calls.append(1)
            return self.model.clean_code(self.model.scaler(x)).z * size * len(calls)

    monkeypatch.setitem(graph._PIECES, "encoder", Drifting)
    with pytest.raises(IsthmusError, match="differs"):
        graph.export(models["vae"], tmp_path / "model.pt2", piece="encoder")
