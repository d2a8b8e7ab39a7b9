"""Attention to the codes before, against a loop over positions."""

import math

import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.networks.context_attention import ContextAttention


def test_each_position_reads_those_before_it():
    torch.manual_seed(0)
    layer = ContextAttention(12, heads=2, narrow=3)
    codes = torch.randn(3, 5, 12).relu()
    with torch.no_grad():
        found = layer(codes)
        for text in range(3):
            for t in range(5):
                before = torch.cat([torch.zeros(1, 12), codes[text, :t]])
                key, value = layer.k_ctx(before), layer.v_ctx(before)
                query = layer.q_target(codes[text, t])
                heads = []
                for h in range(2):
                    keys, values = key[:, 2 * h : 2 * h + 2], value[:, 6 * h : 6 * h + 6]
                    logits = keys @ query[2 * h : 2 * h + 2] / math.sqrt(2)
                    heads.append(logits.softmax(0) @ values)
                expected = layer.c_proj(torch.cat(heads)).relu()
                torch.testing.assert_close(found[text, t], expected, rtol=1e-4, atol=1e-5)


def test_rows_have_the_published_lengths_at_first():
    layer = ContextAttention(12, heads=2, narrow=3)
    for part, length in (("k_ctx", 2), ("q_target", 2), ("v_ctx", 6), ("c_proj", 12)):
        lengths = getattr(layer, part).weight.norm(dim=1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, length**-0.5))


@pytest.mark.parametrize(("heads", "narrow"), [(5, 1), (2, 4), (0, 1), (1, 0)])
def test_what_does_not_divide_is_one_sentence(heads, narrow):
    with pytest.raises(IsthmusError, match="12 latents do not divide"):
        ContextAttention(12, heads, narrow)
