"""Vision models of transformers, opened from a folder and read on images."""

import numpy as np
import pytest
import torch

from isthmus.activations import Activations
from isthmus.activations.modules import open_module
from isthmus.activations.store import Store
from isthmus.cli.harvest import run

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
        image_size=8, patch_size=4, num_channels=1,
    )  # fmt: skip
    place = tmp_path_factory.mktemp("vision") / "vit"
    transformers.ViTModel(config).save_pretrained(place)
    return place


def layers_of(model):
    """Where the layers are: their name differs between versions of transformers."""
    return next(name for name, one in model.named_modules() if isinstance(one, torch.nn.ModuleList))


def test_hooks_are_the_hidden_states(folder):
    model = open_module(str(folder))
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = model(images, output_hidden_states=True).hidden_states
    layers = layers_of(model)
    found = Activations(model, f"{layers}.*")(images)
    assert list(found) == [f"{layers}.0", f"{layers}.1"]
    assert found[f"{layers}.0"].shape == (3, 5, 24)
    assert torch.equal(found[f"{layers}.0"], hidden[1])
    # What comes last among the hidden states is normalised in some versions, and not in others.
    last = found[f"{layers}.1"]
    assert torch.equal(last, hidden[2]) or torch.equal(model.layernorm(last), hidden[2])


def test_a_store_has_a_row_for_each_patch(folder, tmp_path):
    images = np.random.default_rng(0).standard_normal((7, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    model = open_module(str(folder))
    at = [f"{layers_of(model)}.1,layernorm"]
    run(
        str(folder), at, tmp_path / "store", data=str(tmp_path / "images.npy"), dtype="float32",
        batch=3, progress=False,
    )  # fmt: skip
    store = Store(tmp_path / "store")
    assert len(store) == 7 * 5
    with torch.no_grad():
        last = model(torch.from_numpy(images)).last_hidden_state
    rows = store.rows("layernorm", torch.arange(35)).reshape(7, 5, 24)
    torch.testing.assert_close(rows, last, rtol=1e-5, atol=1e-5)
    where = store.where(torch.tensor([0, 4, 5, 34]))
    assert where["row"].tolist() == [0, 0, 1, 6]
    assert where["place"].tolist() == [0, 4, 0, 4]
