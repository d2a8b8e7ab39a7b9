"""Tiny language models of every kind: absolute and rotary, both directions, states, two sides."""

import torch
from torch import nn

from isthmus.language import LanguageModel

from .tiny import Letters

VOCABULARY = 32


class Recurrent(nn.Module):
    """A recurrent language model without an attention mask, which returns a tuple."""

    def __init__(self, both=False, batch_first=True, kind=nn.LSTM):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.lstm = kind(8, 6, batch_first=batch_first, bidirectional=both)
        self.head = nn.Linear(12 if both else 6, VOCABULARY)

    def forward(self, tokens):
        x = self.embed(tokens)
        x = x if self.lstm.batch_first else x.transpose(0, 1)
        out, state = self.lstm(x)
        out = out if self.lstm.batch_first else out.transpose(0, 1)
        return self.head(out), state


class ByName(nn.Module):
    """Takes names only, and returns a loss before a mapping of hidden states."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Embedding(VOCABULARY, 8)

    def forward(self, *, input_ids, labels=None):
        x = self.inner(input_ids).cumsum(1)
        return {"loss": x.sum(), "logits": x @ self.inner.weight.T, "hidden": x}


def _hub(name, config, **options):
    import transformers

    common = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    chosen = getattr(transformers, config)(**{**common, **options})
    return getattr(transformers, name)(chosen)


SMALL = {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 40,
}  # fmt: skip


def _gpt2():
    return _hub("GPT2LMHeadModel", "GPT2Config", n_positions=40, n_embd=8, n_layer=2, n_head=2)


def _t5():
    return _hub(
        "T5ForConditionalGeneration", "T5Config", d_model=8, d_kv=4, d_ff=16, num_layers=2,
        num_heads=2, decoder_start_token_id=0,
    )  # fmt: skip


def _bart():
    return _hub(
        "BartForConditionalGeneration", "BartConfig", d_model=8, encoder_layers=2,
        decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=40,
        decoder_start_token_id=1,
    )  # fmt: skip


def _opt():
    return _hub(
        "OPTForCausalLM", "OPTConfig", hidden_size=8, num_hidden_layers=2, ffn_dim=16,
        num_attention_heads=2, max_position_embeddings=40, word_embed_proj_dim=8,
    )  # fmt: skip


def _mamba():
    return _hub("MambaForCausalLM", "MambaConfig", hidden_size=8, num_hidden_layers=2, state_size=4)


HOSTS = {
    "gpt2": (_gpt2, True, ["transformer.h.1"]),
    "llama": (lambda: _hub("LlamaForCausalLM", "LlamaConfig", **SMALL), True, ["model.layers.1"]),
    "neox": (lambda: _hub("GPTNeoXForCausalLM", "GPTNeoXConfig", **SMALL), True,
             ["gpt_neox.layers.1"]),
    "opt": (_opt, True, ["model.decoder.layers.1"]),
    "bert": (lambda: _hub("BertForMaskedLM", "BertConfig", **SMALL), False,
             ["bert.encoder.layer.1"]),
    "roberta": (lambda: _hub("RobertaForMaskedLM", "RobertaConfig", **SMALL), False,
                ["roberta.encoder.layer.1"]),
    "mamba": (_mamba, True, ["backbone.layers.1"]),
    "t5": (_t5, False, ["encoder.block.1", "decoder.block.1"]),
    "bart": (_bart, False, ["model.encoder.layers.1", "model.decoder.layers.1"]),
    "lstm": (Recurrent, True, ["lstm", "head:in"]),
    "both ways": (lambda: Recurrent(both=True), False, ["lstm"]),
    "both ways, said to be causal": (lambda: Recurrent(both=True), True, ["lstm"]),
    "steps first": (lambda: Recurrent(batch_first=False, kind=nn.GRU), True, ["lstm"]),
    "by name": (ByName, True, [".:hidden", "inner"]),
}  # fmt: skip
"""How each is made, whether it is causal, and points of it."""


def host(name, seed=0):
    make, causal, _ = HOSTS[name]
    torch.manual_seed(seed)
    module = make().eval().requires_grad_(False)
    for parameter in module.parameters():  # of some kinds the positions hardly count at first
        if parameter.ndim > 1:
            parameter.mul_(3.0)
    return LanguageModel(name, f"seed-{seed}", module, Letters(), 40, causal=causal)
