import sys
import types
from dataclasses import replace

import pytest
import torch
from torch import nn

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.language import LanguageModel, generate, open_model, pack, resident
from isthmus.language.document import Document
from isthmus.language.host import blocks


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4096, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.tokenizer = resident().tokenizer

    def forward(self, tokens, attention_mask=None):
        x = self.embed(tokens)
        for block in self.blocks:
            x = x + block(x)
        return x @ self.embed.weight.T


@pytest.fixture
def factories(monkeypatch):
    module = types.ModuleType("some_models")
    module.own = Own
    module.whole = lambda: replace(resident(), name="renamed")
    module.ready = Own().train()
    module.bare = lambda: nn.Linear(2, 2)
    module.number = 3
    monkeypatch.setitem(sys.modules, "some_models", module)


def test_a_factory_of_a_module(factories):
    model = open_model("some_models:own")
    assert isinstance(model, LanguageModel)
    assert (model.name, model.context, model.layers) == ("some_models:own", 256, "blocks.*")
    assert len(model.revision) == 12
    assert generate(model, torch.zeros((1, 1), dtype=torch.int64), 3).shape == (1, 4)


def test_a_module_that_is_there_already(factories):
    model = open_model("some_models:ready")
    assert not model.module.training


def test_a_factory_of_a_language_model(factories):
    assert open_model("some_models:whole").name == "renamed"


def test_a_factory_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here_only.py").write_text(
        "from isthmus.language import resident\ndef make():\n    return resident()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = list(sys.path)
    assert open_model("here_only:make") is resident()
    assert sys.path == before
    sys.modules.pop("here_only")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("some_models:absent", "has no 'absent'"),
        ("some_models:bare", "neither a LanguageModel nor"),
        ("some_models:number", "neither a LanguageModel nor"),
        ("no_such_module:make", "cannot be imported"),
        (":make", "cannot be imported"),
    ],
)
def test_what_cannot_be_made(factories, spec, message):
    with pytest.raises(IsthmusError, match=message):
        open_model(spec)


def test_a_folder_without_a_model(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(IsthmusError, match=r"holds no config\.json"):
        open_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(IsthmusError, match="no language model") as raised:
        open_model(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"isthmus\[lm\]"):
        open_model("gpt2")


def test_blocks_are_the_longest_list_of_equal_modules():
    assert blocks(resident().module) == "layers.*"
    assert blocks(nn.Linear(2, 2)) == "*"
    assert blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == "*"


WORDS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "the", "whale", "##s", "swam", "!"]


def wordpiece(transformers, out):
    from tokenizers import Tokenizer, models, pre_tokenizers

    backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
    ).save_pretrained(out)


SIZES = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
KEYS = {"num_key_value_heads": 1}
FAMILIES = {
    "llama": ("LlamaConfig", {"intermediate_size": 24, "max_position_embeddings": 40}),
    "gpt2": ("GPT2Config", {"n_positions": 40}),
    "gpt_neox": ("GPTNeoXConfig", {"intermediate_size": 24, "max_position_embeddings": 40}),
    "gemma": (
        "GemmaConfig",
        {"intermediate_size": 24, "max_position_embeddings": 40, "head_dim": 8} | KEYS,
    ),
    "bert": ("BertConfig", {"intermediate_size": 24, "max_position_embeddings": 40}),
}
LAYERS = {
    "llama": "model.layers.*",
    "gpt2": "transformer.h.*",
    "gpt_neox": "gpt_neox.layers.*",
    "gemma": "model.layers.*",
    "bert": "bert.encoder.layer.*",
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request, tmp_path_factory):
    """A random model of a family, with norms that are not trivial, saved and opened again."""
    transformers = pytest.importorskip("transformers")
    out = tmp_path_factory.mktemp(request.param)
    name, more = FAMILIES[request.param]
    config = getattr(transformers, name)(**SIZES, **more, pad_token_id=3)
    torch.manual_seed(0)
    kind = (
        transformers.AutoModelForMaskedLM
        if request.param == "bert"
        else transformers.AutoModelForCausalLM
    )
    model = kind.from_config(config)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    model.save_pretrained(out)
    wordpiece(transformers, out)
    return request.param, open_model(str(out))


def test_the_layers_of_each_family_are_found(family):
    name, model = family
    assert model.layers == LAYERS[name]
    assert model.context == 40
    assert model.causal == (name != "bert")
    assert not model.module.training


def test_the_unembedding_of_each_family_gives_its_logits_up_to_scale_and_shift(family):
    """Logits of a place are its residual stream times the matrix, scaled by the norm, plus bias."""
    name, model = family
    if name == "bert":
        assert model.unembedding is None  # a dense layer stands between
        return
    module = model.module
    kept = []
    layers = module.get_submodule(model.layers.removesuffix(".*"))
    hook = layers[-1].register_forward_hook(
        lambda _, __, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
    logits = model.logits(ids)[0]
    hook.remove()
    made = kept[0][0] @ model.unembedding.T
    # differences of logits leave out the biases of norms and output where both places share them
    for place in range(1, 7):
        ratio = kept[0][0].std(-1, correction=0) if name in ("gpt2", "gpt_neox") else None
        size = kept[0][0].square().mean(-1).sqrt() if ratio is None else ratio
        a = made[place] / size[place] - made[0] / size[0]
        torch.testing.assert_close(a, logits[place] - logits[0], rtol=1e-3, atol=2e-3)


def test_a_masked_model_reads_its_rows(family):
    name, model = family
    assert model.tokenizer.bos == 1
    tokens = pack([Document("a", "the whales swam!")], model.tokenizer, 12)
    assert model.tokenizer.pieces(tokens.ids[0][tokens.mask[0]].tolist()) == [
        "[CLS]",
        " the",
        " whale",
        "s",
        " swam",
        " !",
    ]
    logits = model.logits(tokens.ids, tokens.mask)
    assert logits.shape == (1, 12, 32)
    places = int(tokens.mask.sum())
    alone = model.logits(tokens.ids[:, :places], tokens.mask[:, :places])
    torch.testing.assert_close(logits[:, :places], alone, rtol=1e-4, atol=1e-5)
    if name == "bert":
        with pytest.raises(IsthmusError, match="no causal"):
            generate(model, tokens.ids, 1)
