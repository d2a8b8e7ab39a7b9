"""What heads write, against the attention of a model by hand."""

import pytest
import torch
from tests.activations.hosts import host
from tests.interpretation.made import WIDTH, language

from isthmus.errors import IsthmusError
from isthmus.interpretation.circuits import head_outputs, heads_of
from isthmus.interpretation.heads import attention_pattern, head_map

HOST = language()
PROMPTS = torch.randint(2, 32, (5, 9), generator=torch.Generator().manual_seed(0))
GPT2 = "transformer.h.*.attn.c_proj:in"


def entering(module, place, tokens):
    kept = []
    handle = module.get_submodule(place).register_forward_pre_hook(
        lambda m, args: kept.append(args[0])
    )
    with torch.no_grad():
        module(tokens)
    handle.remove()
    return kept[0]


@torch.no_grad()
@pytest.mark.parametrize("at", ["last", "mean"])
def test_outputs_are_the_pattern_times_what_the_head_makes_of_its_input(at):
    outputs = head_outputs(HOST, PROMPTS, at=at)
    assert outputs.shape == (5, 2, 2, WIDTH)
    for layer in range(2):
        attention = HOST.module.layers[layer].attention
        for row, x in enumerate(entering(HOST.module, f"layers.{layer}.attention", PROMPTS)):
            pattern = attention_pattern(HOST.module, layer, x).float()
            for head in range(2):
                written = pattern[head] @ x @ head_map(attention, head)
                expected = written[-1] if at == "last" else written.mean(0)
                torch.testing.assert_close(
                    outputs[row, layer, head], expected, atol=1e-4, rtol=1e-3
                )


@torch.no_grad()
def test_outputs_of_a_foreign_model_add_up_to_its_attention():
    pytest.importorskip("transformers")
    model = host("gpt2")
    heads = heads_of(model, GPT2)
    assert heads.count == 2
    outputs = head_outputs(model, PROMPTS, heads=heads)
    for layer in range(2):
        project = model.module.transformer.h[layer].attn.c_proj
        z = entering(model.module, f"transformer.h.{layer}.attn.c_proj", PROMPTS)[:, -1]
        torch.testing.assert_close(outputs[:, layer].sum(1) + project.bias, project(z))
        # Conv1D has its weight as (in, out).
        by_hand = z[:, :4] @ project.weight[:4]
        torch.testing.assert_close(outputs[:, layer, 0], by_hand)


def test_what_is_not_known_is_asked_for():
    pytest.importorskip("transformers")
    model = host("gpt2")
    with pytest.raises(IsthmusError, match="pass points="):
        heads_of(model)
    with pytest.raises(IsthmusError, match="':in'"):
        heads_of(model, "transformer.h.*.attn.c_proj")
    with pytest.raises(IsthmusError, match="pass count="):
        heads_of(host("lstm"), "head:in")
    with pytest.raises(IsthmusError, match="3 heads side by side"):
        head_outputs(model, PROMPTS, heads=heads_of(model, GPT2, 3))
    with pytest.raises(IsthmusError, match=r"pass \(prompts, places\)"):
        head_outputs(HOST, PROMPTS[0])
