from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from isthmus.errors import IsthmusError
from isthmus.language import generate, resident
from isthmus.language.generate import _drawn


@pytest.fixture(scope="module")
def model():
    return resident()


def prompts(model, *texts):
    return torch.tensor([[model.tokenizer.bos, *model.tokenizer.encode(t)] for t in texts])


class Plain(nn.Module):
    """The same model without its cache."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, tokens, attention_mask=None):
        return self.module(tokens)


@pytest.mark.parametrize("temperature", [0, 1])
def test_with_and_without_the_cache_the_text_is_the_same(model, temperature):
    begin = prompts(model, "The", "And")
    plain = replace(model, module=Plain(model.module))
    options = {"temperature": temperature, "top_k": 5, "seed": 1}
    assert torch.equal(generate(model, begin, 24, **options), generate(plain, begin, 24, **options))


def test_the_same_seed_gives_the_same_text(model):
    begin = prompts(model, "The whale")
    rows = generate(model, begin, 16, seed=4)
    assert rows.shape == (1, begin.shape[1] + 16)
    assert torch.equal(rows[:, : begin.shape[1]], begin)
    assert torch.equal(rows, generate(model, begin, 16, seed=4))
    assert not torch.equal(rows, generate(model, begin, 16, seed=5))


def test_at_temperature_zero_each_token_is_the_likeliest(model):
    rows = generate(model, prompts(model, "He was"), 12, temperature=0)
    likeliest = model.logits(rows[:, :-1]).argmax(-1)
    assert rows[0, -12:].tolist() == likeliest[0, -12:].tolist()


def test_hooks_see_the_prompt_and_then_one_place_a_step(model):
    seen = []
    hook = model.module.layers[1].register_forward_hook(
        lambda _, __, out: seen.append(out.shape[1])
    )
    begin = prompts(model, "She had been")
    generate(model, begin, 4)
    hook.remove()
    assert seen == [begin.shape[1], 1, 1, 1]


def test_what_a_hook_changes_changes_the_text(model):
    begin = prompts(model, "She had been")
    hook = model.module.layers[3].register_forward_hook(
        lambda _, __, out: out + 1000 * model.unembedding[77]
    )
    rows = generate(model, begin, 4, temperature=0)
    hook.remove()
    assert rows[0, -4:].tolist() == [77] * 4


def test_draws_follow_the_distribution():
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0, -30.0])
    draw = torch.Generator().manual_seed(0)
    counts = np.bincount(
        _drawn(logits.repeat(20_000, 1), 0.7, None, draw).flatten().numpy(), minlength=5
    )
    share = (logits.double() / 0.7).softmax(0).numpy()
    assert counts[4] == 0
    assert stats.chisquare(counts[:4], share[:4] / share[:4].sum() * 20_000).pvalue > 1e-3


def test_top_k_draws_only_those():
    logits = torch.tensor([[1.0, 0.9, -1.0, 2.0]]).repeat(500, 1)
    got = _drawn(logits, 1.0, 2, torch.Generator().manual_seed(0))
    assert set(got.flatten().tolist()) == {0, 3}


def test_no_new_token(model):
    begin = prompts(model, "The")
    assert torch.equal(generate(model, begin, 0), begin)


def test_what_does_not_fit_is_refused(model):
    begin = prompts(model, "The")
    for call, message in (
        (lambda: generate(model, begin, 255), "exceed the 256 places"),
        (lambda: generate(model, begin[:, :0], 2), "nothing to continue"),
        (lambda: generate(model, begin, -1), "new=-1"),
        (lambda: generate(model, begin, 1, temperature=-1), "temperature=-1"),
        (lambda: generate(model, begin, 1, top_k=0), "top_k=0"),
        (lambda: generate(replace(model, causal=False), begin, 1), "no causal language model"),
    ):
        with pytest.raises(IsthmusError, match=message):
            call()
