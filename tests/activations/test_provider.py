"""Activations by an engine instead of hooks: the same store, and its traps told."""

import sys
import types

import pytest
import torch
from safetensors.torch import save_file

from isthmus.activations import harvest
from isthmus.activations.vllm_provider import VllmProvider
from isthmus.errors import IsthmusError

from .tiny import BOS, Letters, by_hand, language, tokens

AT = ["layers.0", "layers.2"]


class StandIn:
    """What vLLM documents of its offline engine, on the tiny model.

    Layer 0 is the input of the first block and layer n what is behind block n - 1.
    """

    drops = 0
    other_tokens = False

    def __init__(self, *, model, speculative_config, kv_transfer_config, enable_prefix_caching,
                 enable_chunked_prefill, **options):  # fmt: skip
        assert speculative_config["method"] == "extract_hidden_states"
        assert not enable_prefix_caching
        assert not enable_chunked_prefill
        about = speculative_config["draft_model_config"]["hf_config"]
        self.ids = about["eagle_aux_hidden_state_layer_ids"]
        self.folder = kv_transfer_config["kv_connector_extra_config"]["shared_storage_path"]
        self.host, self.number = language(), 0
        self.llm_engine = types.SimpleNamespace(
            model_config=types.SimpleNamespace(get_hidden_size=lambda: 6)
        )

    def get_tokenizer(self):
        return Letters()

    def generate(self, prompts, sampling, use_tqdm=True):
        return [self.one(torch.tensor(prompt["prompt_token_ids"])) for prompt in prompts]

    def one(self, ids):
        x = self.host.module.embed(ids[None])
        states = [x[0]]
        for block in self.host.module.layers:
            x = block(x)[0]
            states.append(x[0])
        taken = torch.stack([states[number] for number in self.ids], 1)[self.drops :]
        self.number += 1
        path = f"{self.folder}/{self.number}.safetensors"
        told = ids.flip(0) if self.other_tokens else ids
        save_file({"hidden_states": taken.contiguous(), "token_ids": told.contiguous()}, path)
        return types.SimpleNamespace(kv_transfer_params={"hidden_states_path": path})


@pytest.fixture
def provider(monkeypatch):
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = StandIn, lambda **_: None
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr("isthmus.activations.vllm_provider.HubTokenizer", lambda own: own)
    return VllmProvider("tiny", [0, 2], dtype="float32", context=64)


def harvested(model, folder, part=None):
    return harvest(model, tokens(), AT, folder, dtype="float32", batch=4, shard=37, part=part,
                   progress=False)  # fmt: skip


def test_the_store_is_that_of_hooks(provider, tmp_path):
    hooked, given = harvested(language(), tmp_path / "a"), harvested(provider, tmp_path / "b")
    every = torch.arange(len(hooked))
    assert len(given) == len(hooked)
    for point in AT:
        torch.testing.assert_close(given.rows(point, every), hooked.rows(point, every))
    mine, theirs = given.where(every), hooked.where(every)
    assert all(torch.equal(mine[what], theirs[what]) for what in theirs)
    assert BOS not in mine["token"]
    # Layers are counted from 0 here, whatever the engine does.
    true = by_hand(language(), tokens(), 0)[mine["row"], mine["place"]]
    torch.testing.assert_close(given.rows("layers.0", every), true)
    assert given.provenance.model["name"] == "tiny"
    for number in (2, 1):
        harvested(provider, tmp_path / "c", f"{number}/2")
    for name in ("layers.0.npy", "where.npy"):
        files = [sorted((tmp_path / one).glob(f"shard-*/{name}")) for one in "bc"]
        assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_what_an_engine_leaves_out_is_told(provider, tmp_path, monkeypatch):
    monkeypatch.setattr(StandIn, "drops", 2)
    with pytest.raises(IsthmusError, match="prefix caching"):
        harvested(provider, tmp_path / "a")
    monkeypatch.setattr(StandIn, "drops", 0)
    monkeypatch.setattr(StandIn, "other_tokens", True)
    with pytest.raises(IsthmusError, match="other tokens than it was asked for"):
        harvested(provider, tmp_path / "b")


def test_points_and_layers_are_checked(provider, tmp_path):
    with pytest.raises(IsthmusError, match="unknown point of tiny"):
        harvest(provider, tokens(), "layers.1", tmp_path / "a", progress=False)
    with pytest.raises(IsthmusError, match="counted from 0"):
        VllmProvider("tiny", [-1])


def test_without_vllm_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(IsthmusError, match=r"isthmus\[vllm\]"):
        VllmProvider("tiny", [0])
