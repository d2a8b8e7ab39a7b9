"""Heads and the latents of dictionaries on what they mix."""

import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.interpretation.heads import (
    attention_pattern,
    direct_attribution,
    head_map,
    head_shares,
)

from .made import WIDTH, dictionary, language, tokens

HOST = language()
ROW = tokens().ids[0]
HEADS = 2


def entering(point):
    kept = []
    module = HOST.module.get_submodule(point)
    handle = module.register_forward_pre_hook(lambda m, args: kept.append(args[0][0]))
    with torch.no_grad():
        HOST.module(ROW[None])
    handle.remove()
    return kept[0]


MIXED = entering("layers.1.attention.out")


@pytest.mark.parametrize("scaling", ["global", "none"])
def test_shares_are_norms_of_blocks(scaling):
    made = dictionary(x=MIXED, scaling=scaling)
    shares = head_shares(made, HEADS)
    rows = made.decoder.weight.detach()
    first, second = (rows[:, part].square().sum(1).sqrt() for part in (slice(0, 8), slice(8, 16)))
    torch.testing.assert_close(shares[:, 0], first / (first + second))
    torch.testing.assert_close(shares.sum(1), torch.ones(len(rows)))


def test_shares_of_rows_by_hand():
    rows = torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 3.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.0, 0.0]])
    torch.testing.assert_close(head_shares(rows, 2), expected)
    with pytest.raises(IsthmusError, match="3 heads"):
        head_shares(rows, 3)


def test_patterns_mix_values_as_the_model_does():
    x = entering("layers.1.attention")
    pattern = attention_pattern(HOST.module, 1, x)
    assert pattern.shape == (HEADS, len(ROW), len(ROW))
    torch.testing.assert_close(pattern.sum(2), torch.ones(HEADS, len(ROW)).double())
    value = HOST.module.layers[1].attention.qkv(x)[:, 2 * WIDTH :].double()
    mixed = torch.cat([pattern[h] @ value[:, 8 * h : 8 * h + 8] for h in range(HEADS)], 1)
    torch.testing.assert_close(mixed.float(), MIXED, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        written = HOST.module.layers[1].attention.out(MIXED)
        attention = HOST.module.layers[1].attention
        whole = sum((pattern[h].float() @ x) @ head_map(attention, h) for h in range(HEADS))
    torch.testing.assert_close(whole, written, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("recipe", ["topk", "relu-l1"])
def test_attribution_to_sources_adds_up_and_sees_one_token_at_a_time(recipe):
    made = dictionary(recipe, x=MIXED)
    rows, bias = made.read_rows()
    found = direct_attribution(HOST, 1, made, 5, ROW)
    expected = (MIXED @ rows.T + bias)[:, 5]
    torch.testing.assert_close(found.pre_activations.float(), expected, atol=1e-4, rtol=1e-4)
    assert found.by_source.triu(1).abs().max() == 0
    # One source's part by hand: the values of all other places are set to zero.
    x = entering("layers.1.attention")
    value = HOST.module.layers[1].attention.qkv(x)[:, 2 * WIDTH :].double()
    pattern = attention_pattern(HOST.module, 1, x)
    place, source = 9, 4
    mixed = torch.cat(
        [pattern[h, place, source] * value[source, 8 * h : 8 * h + 8] for h in (0, 1)]
    )
    assert float(found.by_source[place, source]) == pytest.approx(
        float((mixed * rows[5]).sum()), abs=1e-5
    )


def test_what_cannot_be_attributed_is_said():
    with pytest.raises(IsthmusError, match="no latent 48"):
        direct_attribution(HOST, 1, dictionary(x=MIXED), 48, ROW)
    with pytest.raises(IsthmusError, match="no head 2"):
        head_map(HOST.module.layers[0].attention, 2)
