"""Modules of every make: types, names, parts of their outputs, whole numbers, and pictures."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus import notices
from isthmus.activations import Activations, Store, harvest, open_module
from isthmus.cli.harvest import run
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.language import open_model, resident

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Outputs(nn.Module):
    """A loss, and tensors by name and by number; only by name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, *, features, weight=None):
        hidden = self.first(features)
        return {"loss": hidden.sum(), "pair": (hidden, self.second(hidden)), "last": hidden * 2}


def harvested(model, data, at, tmp_path, **options):
    options = {"dtype": "float32", "progress": False, **options}
    store = harvest(model, as_source(data), at, tmp_path / "s", **options)
    return store.rows(store.points[0], torch.arange(len(store)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_modules_in_other_types(dtype, tmp_path):
    model = nn.Sequential(nn.Linear(4, 3)).to(dtype)
    found = harvested(model, X, "0", tmp_path)
    with torch.no_grad():
        assert torch.equal(found, model(X.to(dtype)).float())
    store = Store(tmp_path / "s")
    assert store.dtype == "float32"
    assert f"computed in {str(dtype)[6:]}" in repr(store)


@pytest.mark.parametrize(("at", "right"), [
    (".", lambda m: m.first(X)), (".:last", lambda m: 2 * m.first(X)),
    (".:pair.1", lambda m: m.second(m.first(X))), ("second:in", lambda m: m.first(X)),
    (".:in:features", lambda m: X), (".:pair", lambda m: m.first(X)),
])  # fmt: skip
def test_parts_of_outputs_by_name_and_no_loss(at, right, tmp_path):
    model = Outputs()
    with torch.no_grad():
        torch.testing.assert_close(harvested(model, X, at, tmp_path), right(model))


def test_a_part_that_is_not_there():
    with pytest.raises(IsthmusError, match="did you mean 'pair'"):
        Activations(Outputs(), ".:pairs")(features=X)


def test_collections_go_by_their_names(tmp_path):
    class Two(nn.Module):
        def forward(self, left, right):
            return left - 2 * right

    found = harvested(Two(), {"right": X, "left": 3 * X}, ".", tmp_path)
    torch.testing.assert_close(found, X)


def test_whole_numbers_stay_whole_where_they_are_taken(tmp_path):
    ids = np.random.default_rng(0).integers(0, 9, (5, 7))
    np.save(tmp_path / "ids.npy", ids)
    table = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    source = as_source(str(tmp_path / "ids.npy"))
    store = harvest(table, source, "0", tmp_path / "a", dtype="float32", progress=False)
    rows = store.rows("0", torch.arange(35))
    assert torch.equal(rows, table[0].weight.detach()[torch.from_numpy(ids).flatten()])
    linear = nn.Linear(7, 2)
    found = harvested(linear, ids, ".", tmp_path)
    torch.testing.assert_close(found, linear(torch.from_numpy(ids).float()).detach())


def test_rows_that_a_module_cannot_read_are_one_sentence(tmp_path):
    with pytest.raises(IsthmusError, match=r"Linear cannot read rows of shape \(4,\)"):
        harvested(nn.Linear(5, 2), X, ".", tmp_path)
    assert not (tmp_path / "s").exists()


# --- models of transformers ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8,
    )  # fmt: skip
    model = transformers.ViTModel(config).eval()
    kind = getattr(transformers, "ViTImageProcessorPil", transformers.ViTImageProcessor)
    processor = kind(size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.2] * 3)
    folder = tmp_path_factory.mktemp("vision")
    model.save_pretrained(folder / "with")
    processor.save_pretrained(folder / "with")
    model.save_pretrained(folder / "without")
    return folder, model, processor


@pytest.mark.parametrize("shape", [(16, 16, 3), (20, 24, 3), (16, 16)])
def test_byte_images_are_prepared_as_the_model_was_trained(vit, shape, tmp_path):
    folder, model, processor = vit
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    run(str(folder / "with"), ["layers.0"], tmp_path / "s", data=str(tmp_path / "images.npy"),
        dtype="float32", progress=False)  # fmt: skip
    store = Store(tmp_path / "s")
    colours = images if len(shape) == 3 else np.repeat(images[..., None], 3, -1)
    pixels = processor(images=list(colours), return_tensors="pt", input_data_format="channels_last")
    with torch.no_grad():
        right = model(**pixels, output_hidden_states=True).hidden_states[1].reshape(-1, 16)
    mine = store.rows("layers.0", torch.arange(len(store)))
    assert float((mine - right).norm() / right.norm()) < 1e-5


def test_without_a_processor_that_is_said_and_a_wrong_size_is_a_sentence(vit, tmp_path):
    model = open_module(str(vit[0] / "without"))
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    notices.forget()
    with notices.collected() as said:
        harvested(model, images, "layers.0", tmp_path)
    assert any("no image processor" in line for line in said)
    with pytest.raises(IsthmusError, match="made for images of size 16"):
        harvested(model, images[:, :8], "layers.0", tmp_path / "other")


def test_types_and_devices_of_hosts(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        image_size=8, patch_size=4,
    )  # fmt: skip
    transformers.ViTModel(config).to(torch.bfloat16).save_pretrained(tmp_path / "vit")
    place = str(tmp_path / "vit")
    assert next(open_module(place).parameters()).dtype == torch.float32
    for name in ("auto", "bf16", "bfloat16", torch.bfloat16):
        assert next(open_module(place, dtype=name).parameters()).dtype == torch.bfloat16
    half = open_model("resident", dtype="bf16", device="cpu")
    assert half.dtype == "bfloat16"
    assert half.revision == resident().revision
    assert resident().dtype == "float32"
    for options, message in (
        ({"dtype": "float23"}, "did you mean 'float32'"),
        ({"device": "cuda:99"}, "is not there"),
        ({"device": "gpuu:x"}, "unknown device"),
    ):
        with pytest.raises(IsthmusError, match=message):
            open_model("resident", **options)
