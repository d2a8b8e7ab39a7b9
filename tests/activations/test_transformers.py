"""Models of ``transformers``: hooks give the tensors that the models themselves give out."""

import pytest
import torch
from tests.language.stories import stories_folder

from isthmus.activations import Activations, Streamed, harvest, open_module
from isthmus.data import ArraySource
from isthmus.errors import IsthmusError
from isthmus.language import Document, open_model, pack

transformers = pytest.importorskip("transformers")

STORY = "Once upon a time, there was a little girl named Lily. She loved to play in the park."


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    return open_model(str(stories_folder(tmp_path_factory.mktemp("stories"))))


@pytest.fixture(scope="module")
def text(stories):
    documents = [Document(f"story {i}", STORY * n) for i, n in enumerate((1, 3, 2))]
    return pack(documents, stories.tokenizer, context=48)


def test_hidden_states_are_those_of_output_hidden_states(stories, text):
    inputs = {"attention_mask": text.mask}
    with torch.no_grad():
        out = stories.module(text.ids, output_hidden_states=True, **inputs)
    last = len(stories.module.model.layers) - 1
    at = ["model.embed_tokens", stories.layers, "model.norm"]
    held = Activations(stories.module, at)(text.ids, **inputs)
    assert torch.equal(held["model.embed_tokens"], out.hidden_states[0])
    for layer in range(last):
        assert torch.equal(held[f"model.layers.{layer}"], out.hidden_states[layer + 1])
    assert torch.equal(held["model.norm"], out.hidden_states[-1])
    before = Activations(stories.module, "model.norm:in")(text.ids, **inputs)["model.norm:in"]
    assert torch.equal(held[f"model.layers.{last}"], before)


def test_parts_of_a_block_add_up(stories, text):
    at = ["model.layers.2:in", "model.layers.2.self_attn", "model.layers.2.mlp", "model.layers.2"]
    before, attention, mlp, after = Activations(stories.module, at)(text.ids).values()
    torch.testing.assert_close(before + attention + mlp, after, rtol=1e-5, atol=1e-5)
    inputs = Activations(stories.module, "model.layers.2.self_attn:in")(text.ids)
    normed = stories.module.model.layers[2].input_layernorm(before)
    assert torch.equal(inputs["model.layers.2.self_attn:in"], normed)


def test_the_harvest_of_a_real_model(stories, text, tmp_path):
    store = harvest(
        stories, text, "model.layers.3", tmp_path / "s", dtype="float32", batch=2, progress=False
    )
    with torch.no_grad():
        out = stories.module(text.ids, attention_mask=text.mask, output_hidden_states=True)
    keep = text.mask & (text.ids != stories.tokenizer.bos)
    found = store.rows("model.layers.3", torch.arange(len(store)))
    torch.testing.assert_close(found, out.hidden_states[4][keep], rtol=1e-4, atol=1e-4)
    pieces = stories.tokenizer.pieces(store.where(torch.arange(8))["token"].tolist())
    assert "".join(pieces).strip() == STORY[: len("".join(pieces).strip())]


def test_a_masked_model(tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32,
    )  # fmt: skip
    model = transformers.BertForMaskedLM(config).eval()
    ids = torch.randint(5, 40, (3, 7))
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1, 4:] = False
    with torch.no_grad():
        out = model(ids, attention_mask=mask, output_hidden_states=True)
    held = Activations(model, "bert.encoder.layer.*")(ids, attention_mask=mask)
    assert torch.equal(held["bert.encoder.layer.0"], out.hidden_states[1])
    assert torch.equal(held["bert.encoder.layer.1"], out.hidden_states[2])


def test_a_vision_model_by_its_folder(tmp_path):
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        image_size=8, patch_size=4, num_channels=3,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    model = open_module(str(tmp_path / "vit"))
    images = torch.rand(6, 3, 8, 8)
    with torch.no_grad():
        out = model(images, output_hidden_states=True)
    (point,) = [n for n, _ in model.named_modules() if n.endswith(("layer.0", "layers.0"))]
    source = Streamed(model, ArraySource(images), point, batch=2)
    at = source.where(torch.arange(len(source)))
    assert len(source) == 6 * 5  # four patches and the class token
    torch.testing.assert_close(
        source.rows(torch.arange(30)), out.hidden_states[1][at["row"], at["place"]],
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.such.module:thing", "cannot be imported"),
        ("torch.nn:Nothing", "has no 'Nothing'"),
        ("math:pi", "gives a float and no nn.Module"),
        ("./nowhere", "there is no model './nowhere'"),
    ],
)
def test_models_that_are_not_there(name, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(IsthmusError, match=message):
        open_module(name)


def test_a_module_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "ours.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Linear(2, 3).train()\n"
    )
    monkeypatch.chdir(tmp_path)
    model = open_module("ours:make")
    assert not model.training
    assert model.weight.shape == (3, 2)
