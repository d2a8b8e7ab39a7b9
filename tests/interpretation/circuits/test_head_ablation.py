"""What heads are worth, against weights that were set to zero and derivatives by differences."""

import copy

import pytest
import torch
from tests.activations.hosts import host
from tests.interpretation.made import VOCABULARY, language

from isthmus.errors import IsthmusError
from isthmus.interpretation.circuits import ablate_heads, answer_odds, attribute_heads, heads_of

HOST = language()
DRAW = torch.Generator().manual_seed(0)
PROMPTS, TWINS = (torch.randint(2, 32, (6, 9), generator=DRAW) for _ in range(2))
RIGHT = torch.rand(6, VOCABULARY, generator=DRAW) < 0.2
METRIC = answer_odds(RIGHT, ~RIGHT)


def by_hand(model, gone, point, elements, right):
    """The metric where blocks of a point are their means over the twins, by a hook of one's own."""
    kept, handles = {}, []
    for layer in range(2):
        module = model.module.get_submodule(point.format(layer))
        handles.append(
            module.register_forward_pre_hook(
                lambda m, args, layer=layer: kept.__setitem__(layer, args[0].mean(0))
            )
        )
    with torch.no_grad():
        model.logits(TWINS)
    for handle in handles:
        handle.remove()

    def hook(layer):
        def change(module, args):
            x = args[0].clone()
            for at, head in gone:
                if at == layer:
                    block = slice(head * elements, (head + 1) * elements)
                    x[..., block] = kept[layer][:, block]
            return (x,)

        return change

    handles = [
        model.module.get_submodule(point.format(i)).register_forward_pre_hook(hook(i))
        for i in range(2)
    ]
    logits = model.logits(PROMPTS)[:, -1].double()
    for handle in handles:
        handle.remove()
    odds = [
        (row.exp() * one).sum().log() - (row.exp() * ~one).sum().log()
        for row, one in zip(logits, right, strict=True)
    ]
    return float(torch.stack(odds).mean())


@pytest.mark.parametrize("kind", ["own", "gpt2"])
def test_ablations_are_those_of_hooks_by_hand(kind):
    model, heads, point, elements = HOST, None, "layers.{}.attention.out", 8
    right = RIGHT
    if kind == "gpt2":
        pytest.importorskip("transformers")
        model, point, elements = host("gpt2"), "transformer.h.{}.attn.c_proj", 4
        right = RIGHT[:, :32]
        heads = heads_of(model, point.format("*") + ":in")
    metric = answer_odds(right, ~right)
    ablated = ablate_heads(model, PROMPTS, TWINS, metric, heads=heads)
    everything = [(layer, head) for layer in range(2) for head in range(2)]
    whole, nothing = (by_hand(model, one, point, elements, right) for one in ([], everything))
    assert ablated.whole == pytest.approx(whole, abs=1e-4)
    assert ablated.nothing == pytest.approx(nothing, abs=1e-4)
    for layer, head in everything:
        expected = by_hand(model, [(layer, head)], point, elements, right)
        assert float(ablated.without[layer, head]) == pytest.approx(expected, abs=1e-4)
        effect = whole - expected
        inside = abs(effect) > 0.1 * abs(whole - nothing)
        assert bool(ablated.circuit()[layer, head]) == inside


def test_a_head_whose_weights_are_zero_is_worth_nothing():
    model = copy.deepcopy(HOST)
    with torch.no_grad():
        model.module.layers[1].attention.out.weight[:, 8:] = 0
    ablated = ablate_heads(model, PROMPTS, TWINS, METRIC)
    assert ablated.effects[1, 1] == pytest.approx(0.0, abs=1e-6)
    assert not ablated.circuit()[1, 1]
    assert ablated.effects.abs().max() > 1e-3
    attributed = attribute_heads(model, PROMPTS, TWINS, METRIC)
    assert attributed[1, 1] == 0
    assert attributed.max() > 1e-3


def test_attribution_is_the_slope_of_moving_a_head_towards_the_twin():
    model = HOST.to(dtype="float64")  # derivatives by differences need the digits
    attributed = attribute_heads(model, PROMPTS, TWINS, METRIC)
    step = 1e-5
    kept = {}
    for layer in range(2):
        out = model.module.layers[layer].attention.out
        handle = out.register_forward_pre_hook(
            lambda m, args, layer=layer: kept.__setitem__(layer, args[0])
        )
        model.logits(TWINS)
        handle.remove()
    for layer in range(2):
        for head in range(2):
            odds = []
            for sign in (1, -1):

                def move(module, args, layer=layer, head=head, sign=sign):
                    x = args[0].clone()
                    block = slice(8 * head, 8 * head + 8)
                    x[..., block] += sign * step * (kept[layer] - args[0])[..., block]
                    return (x,)

                out = model.module.layers[layer].attention.out
                handle = out.register_forward_pre_hook(move)
                odds.append(METRIC(model.logits(PROMPTS)[:, -1]).double().mean())
                handle.remove()
            slope = float(odds[0] - odds[1]) / (2 * step)
            assert float(attributed[layer, head]) == pytest.approx(abs(slope), rel=1e-3, abs=1e-5)


def test_gradients_are_taken_where_none_are_wanted():
    with torch.no_grad():
        inside = attribute_heads(HOST, PROMPTS, TWINS, METRIC)
    torch.testing.assert_close(inside, attribute_heads(HOST, PROMPTS, TWINS, METRIC))


def test_prompts_of_other_lengths_are_refused():
    with pytest.raises(IsthmusError, match="one length"):
        ablate_heads(HOST, PROMPTS, TWINS[:, 1:], METRIC)
    with pytest.raises(IsthmusError, match="one for each"):
        attribute_heads(HOST, PROMPTS, TWINS[1:], METRIC)
