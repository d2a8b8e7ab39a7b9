"""A grown model says what the small one does, and copies from its first step."""

from dataclasses import replace

import pytest
import torch
from tools.growth import given_copying, grown

from isthmus.errors import IsthmusError
from isthmus.interpretation.controls import copy_losses, head_attention, repeated_tokens
from isthmus.language import Shape, documents, pack, resident

WIDE = Shape(width=256, heads=8, layers=6, hidden=1024, still=(2,))
PLACES = (1, 3, 4, 5)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return grown(resident().module, WIDE, PLACES).eval().requires_grad_(False)


def test_it_says_what_the_small_one_says(model):
    rows = pack(documents("samples:2"), resident().tokenizer, 64, 300).ids
    wanted = resident().module(rows).log_softmax(-1)
    found = model(rows).log_softmax(-1)
    assert (wanted.exp() * (wanted - found)).sum(-1).mean() < 0.01  # nats
    model.embed.weight[:, 192:] = 0
    for block in model.layers:  # the heads, hidden units and columns that are new
        block.attention.out.weight[:, 192:] = 0
        block.attention.out.weight[192:] = 0
        block.mlp.down.weight[192:] = 0
        block.mlp.down.weight[:, 768:] = 0
    for place in {*range(6)} - {*PLACES}:
        model.layers[place].attention.out.weight[:] = 0
        model.layers[place].mlp.down.weight[:] = 0
    torch.testing.assert_close(model(rows).log_softmax(-1), wanted, atol=1e-3, rtol=1e-3)


def test_heads_of_other_widths_are_refused():
    with pytest.raises(IsthmusError, match="heads of 64 cannot begin as heads of 32"):
        grown(resident().module, replace(WIDE, heads=4), PLACES)


def test_it_copies_before_it_is_trained(model):
    given_copying(model, 192)
    host = replace(resident(), module=model, name="grown")
    ids = repeated_tokens(host, 4)
    seen = head_attention(host, ids)
    assert (seen["previous"][0, :4] > 0.8).all()
    assert (seen["induction"][2, :4] > 0.4).all()
    first, second = (losses.mean() for losses in copy_losses(host, ids))
    assert second < first - 2
