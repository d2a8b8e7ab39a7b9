"""Copies of random tokens, on a model that copies by construction and on tiny ones."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isthmus.errors import IsthmusError
from isthmus.interpretation.controls import copy_losses, head_attention, repeated_tokens
from isthmus.language import Decoder, Shape, resident
from isthmus.language.decoder import rotated


class Copier(nn.Module):
    """Says what followed the same token last time, and nothing where there was none."""

    def forward(self, tokens):
        logits = torch.zeros(*tokens.shape, 4096)
        for row, ids in enumerate(tokens.tolist()):
            after = {}
            for place, token in enumerate(ids):
                if place:
                    after[ids[place - 1]] = token
                if token in after:
                    logits[row, place, after[token]] = 30.0
        return logits


def tiny():
    torch.manual_seed(0)
    shape = Shape(width=16, heads=2, layers=2, hidden=16)
    module = Decoder(shape).eval().requires_grad_(False)
    for block in module.layers:  # sharp enough that heads differ
        block.attention.qkv.weight *= 3
    return replace(resident(), module=module, name="tiny")


def test_tokens_come_twice_after_bos():
    ids = repeated_tokens(resident(), 3, length=20)
    assert ids.shape == (3, 41)
    assert (ids[:, 0] == resident().tokenizer.bos).all()
    assert torch.equal(ids[:, 1:21], ids[:, 21:])
    assert not set(ids[:, 1:].flatten().tolist()) & resident().tokenizer.special
    assert torch.equal(ids, repeated_tokens(resident(), 3, length=20))
    assert not torch.equal(ids, repeated_tokens(resident(), 3, length=20, seed=1))


def test_rows_longer_than_the_context_are_refused():
    with pytest.raises(IsthmusError, match="at most 127"):
        repeated_tokens(resident(), 1, length=128)


def test_a_copier_knows_the_second_copy_and_nothing_of_the_first():
    model = replace(resident(), module=Copier())
    first, second = copy_losses(model, repeated_tokens(model, 4, length=25))
    assert first.shape == second.shape == (4,)
    assert first.mean() > math.log(4096) - 0.5
    assert second.mean() < 1.5  # tokens that come twice in a copy mislead it


def test_a_tiny_model_knows_neither():
    first, second = copy_losses(tiny(), repeated_tokens(tiny(), 4, length=25))
    assert abs(float(first.mean() - second.mean())) < 0.3


def test_attention_is_that_of_the_model():
    """Weights out of the fused attention itself: its output for values that are unit vectors."""
    model, length = tiny(), 6
    ids = repeated_tokens(model, 3, length=length)
    found = head_attention(model, ids)
    for layer in range(2):
        block = model.module.layers[layer]
        x = model.module.embed(ids)
        for earlier in range(layer):
            rotation = model.module._cosine[:13], model.module._sine[:13]
            x = model.module.layers[earlier](x, rotation)
        parts = (
            block.attention.qkv(block.attention_norm(x)).view(3, 13, 3, 2, 8).permute(2, 0, 3, 1, 4)
        )
        rotation = model.module._cosine[:13], model.module._sine[:13]
        query, key = rotated(parts[0], rotation), rotated(parts[1], rotation)
        unit = torch.eye(13).expand(3, 2, 13, 13)
        weights = F.scaled_dot_product_attention(query, key, unit, is_causal=True)
        induction = torch.stack([weights[:, :, 7 + i, 2 + i] for i in range(6)]).mean((0, 1))
        previous = torch.stack([weights[:, :, i + 1, i] for i in range(12)]).mean((0, 1))
        torch.testing.assert_close(
            found["induction"][layer].float(), induction, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(found["previous"][layer].float(), previous, atol=1e-5, rtol=1e-4)
    even = sum(1 / (i + 1) for i in range(7, 13)) / 6
    assert math.isclose(float(found["chance"]), even, rel_tol=1e-5)


def test_heads_of_other_models_are_refused():
    with pytest.raises(IsthmusError, match="use a resident model"):
        head_attention(replace(resident(), module=Copier()), repeated_tokens(resident(), 1))
