"""Where a name stands in a question, what is said, and what is looked at."""

import pytest
import torch
from torch.nn import functional as F

from isthmus.activations import Activations
from isthmus.language import Decoder, LanguageModel, Shape, resident
from isthmus.language.decoder import rotated
from isthmus.language.knowledge import KINDS, names
from isthmus.language.knowledge.people import RELATIONS
from isthmus.studies.steering.asked_names import asked, attention_to_name


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    module = Decoder(Shape(width=32, heads=2, layers=3, hidden=64)).eval().requires_grad_(False)
    return LanguageModel("small", "0", module, resident().tokenizer, module.shape.context)


def questions(model, kind, knows, number=3):
    some = [one for one in names(kind) if one.known == knows][:number]
    return some, asked(some, [one for one in RELATIONS if one.kind == kind], model)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("knows", [True, False])
def test_a_question_is_read_back_with_its_name_and_its_answer(model, kind, knows):
    relations = [one for one in RELATIONS if one.kind == kind]
    some, found = questions(model, kind, knows)
    assert (found.kind, found.knows) == (kind, knows)
    assert len(found.ids) == len(some) * len(relations)
    decode, row = model.tokenizer.decode, 0
    for one in some:
        for relation in relations:
            ids = found.ids[row]
            assert one.text in decode(ids[found.named[row]].tolist())
            assert decode([int(ids[found.last[row]])]).rstrip("?")[-1] == one.text[-1]
            told = decode(ids[1 : found.end[row] + 1].tolist())
            assert told == relation.asked.format(name=one.text) + " Answer:"
            answer = one.facts[relation.name] if knows else "nobody knows"
            assert f" {answer}".startswith(decode([int(found.right[row])]))
            row += 1


def test_padding_changes_neither_what_is_said_nor_what_is_read(model):
    some, together = questions(model, "person", True)
    assert not together.mask.all()
    relations = [one for one in RELATIONS if one.kind == "person"]
    alone = [asked([one], [relation], model) for one in some for relation in relations]
    assert torch.equal(together.said(model), torch.cat([one.said(model) for one in alone]))
    at = together.at_name(model, ["layers.1"])["layers.1"]
    apart = torch.cat([one.at_name(model, ["layers.1"])["layers.1"] for one in alone])
    assert torch.allclose(at, apart, atol=1e-6)


def test_attention_is_what_the_heads_hand_on_of_an_indicator(model):
    """Against the kernel of the model's own attention, with 1 at names in place of the values."""
    _, found = questions(model, "place", True)
    module, paid = model.module, []
    for layer in (1, 2):
        block = module.layers[layer].attention
        point = f"layers.{layer}.attention:in"
        x = Activations(module, point)(found.ids)[point]
        parts = block.qkv(x).view(*x.shape[:2], 3, 2, 16).permute(2, 0, 3, 1, 4)
        turned = (module._cosine[: x.shape[1]], module._sine[: x.shape[1]])
        value = found.named[:, None, :, None].float().expand(parts[0].shape).contiguous()
        out = F.scaled_dot_product_attention(
            rotated(parts[0], turned), rotated(parts[1], turned), value, is_causal=True
        )
        paid.append(out[torch.arange(len(x)), :, found.end, 0])
    expected = 100.0 * float(torch.stack(paid).mean())
    assert attention_to_name(model, found, 0) == pytest.approx(expected, rel=1e-5)
    assert attention_to_name(model, found, 2) != attention_to_name(model, found, 2)  # none behind
