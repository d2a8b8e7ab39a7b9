"""The model stories260K of the shared data as a folder that ``transformers`` opens."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


def stories_folder(out: Path) -> Path:
    """Convert it into ``out``; skips the test where the data or transformers are missing.

    llama2.c turns neighbouring features of queries and keys, transformers those half a head
    apart: the rows of both maps are put in that order.
    """
    transformers = pytest.importorskip("transformers")
    source = Path(os.environ.get("ISTHMUS_DATA", "")) / "models" / "stories260K"
    if not (source / "config.json").is_file():
        pytest.skip("stories260K is not here")
    sizes = json.loads((source / "config.json").read_text())
    config = transformers.LlamaConfig(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["dim"],
        intermediate_size=sizes["hidden_dim"],
        num_hidden_layers=sizes["n_layers"],
        num_attention_heads=sizes["n_heads"],
        num_key_value_heads=sizes["n_kv_heads"],
        max_position_embeddings=sizes["max_seq_len"],
        rms_norm_eps=sizes["norm_eps"],
        rope_parameters={"rope_type": "default", "rope_theta": sizes["rope_theta"]},
        tie_word_embeddings=sizes["tie_embeddings"],
        bos_token_id=sizes["bos_id"],
        eos_token_id=sizes["eos_id"],
    )
    model = transformers.LlamaForCausalLM(config)
    weights = {
        _renamed(name): _halves(name, value, sizes["dim"] // sizes["n_heads"])
        for name, value in load_file(source / "model.safetensors").items()
    }
    left = model.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys
    assert set(left.missing_keys) <= {"lm_head.weight"}
    model.tie_weights()
    model.save_pretrained(out)
    _tokenizer(json.loads((source / "tokenizer.json").read_text())["pieces"], transformers, out)
    return out


def greedy_text() -> str:
    """What the model writes after BOS, as its config states."""
    source = Path(os.environ["ISTHMUS_DATA"]) / "models" / "stories260K"
    return json.loads((source / "config.json").read_text())["greedy_from_bos"]


_NAMES = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "tok_embeddings": "embed_tokens",
}


def _renamed(name: str) -> str:
    for old, new in _NAMES.items():
        name = name.replace(old, new)
    return f"model.{name}"


def _halves(name: str, weight: torch.Tensor, head: int) -> torch.Tensor:
    if not name.endswith(("wq.weight", "wk.weight")):
        return weight
    rows, width = weight.shape
    pairs = weight.view(rows // head, head // 2, 2, width)
    return pairs.transpose(1, 2).reshape(rows, width).contiguous()


def _tokenizer(pieces: list, transformers, out: Path) -> None:
    """SentencePiece by scores as ranked merges: each way to make a piece of two, best first."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    written = ["<unk>", "<s>", "</s>", *(text.replace(" ", "▁") for text, _ in pieces[3:])]
    numbers = {text: i for i, text in enumerate(written)}
    merges = [
        (-score, text[:cut], text[cut:])
        for text, (_, score) in zip(written[259:], pieces[259:], strict=True)
        for cut in range(1, len(text))
        if text[:cut] in numbers and text[cut:] in numbers
    ]
    merges.sort(key=lambda merge: merge[0])
    backend = Tokenizer(
        models.BPE(
            numbers,
            [(a, b) for _, a, b in merges],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(out)
