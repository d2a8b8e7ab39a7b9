"""Two models in one: their states, their mixture, and what no token may see."""

import pytest
import torch
from tests.activations.hosts import host
from tests.interpretation.made import WIDTH, language

from isthmus.errors import IsthmusError
from isthmus.interpretation.blended_models import BlendedModels, blend_loss, train_blend

BASE, TUNED = (language(seed).module for seed in (0, 1))
TOKENS = torch.randint(2, 40, (4, 11), generator=torch.Generator().manual_seed(0))
TUNED_ROWS = torch.tensor([False, True, True, False])


def blended(base=BASE, tuned=TUNED, **options):
    torch.manual_seed(0)
    return BlendedModels(base, tuned, WIDTH, **options)


def states(module, names, tokens=TOKENS):
    kept = []
    handles = [
        module.get_submodule(name).register_forward_hook(lambda m, args, out: kept.append(out))
        for name in names
    ]
    with torch.no_grad():
        module(tokens)
    for handle in handles:
        handle.remove()
    return kept


NAMES = ["layers.0", "layers.1"]


@torch.no_grad()
def test_states_are_mixed_rebuilt_and_the_last_one_makes_the_logits():
    model = blended()
    done = model.run(TOKENS)
    shares = model.blend().flatten()
    for layer, (own, other) in enumerate(
        zip(states(BASE, NAMES), states(TUNED, NAMES), strict=True)
    ):
        torch.testing.assert_close(done.base[layer], own)
        torch.testing.assert_close(done.tuned[layer], other)
        mixed = (1 - shares[layer]) * own + shares[layer] * other
        torch.testing.assert_close(done.rebuilt[layer], model.autoencoders[layer](mixed))
    expected = BASE.norm(done.rebuilt[-1]) @ BASE.embed.weight.T
    torch.testing.assert_close(done.logits, expected)
    torch.testing.assert_close(model(TOKENS), expected)


@torch.no_grad()
def test_with_nothing_of_the_second_model_it_is_the_first_one():
    model = blended(rebuild=False)
    model.blend.control.zero_()
    torch.testing.assert_close(model(TOKENS), BASE(TOKENS))
    model.blend.control.fill_(1.0)
    expected = BASE.norm(states(TUNED, NAMES)[-1]) @ BASE.embed.weight.T
    torch.testing.assert_close(model(TOKENS), expected)


@torch.no_grad()
def test_shares_by_element_mix_elements():
    model = blended(rebuild=False, by_element=True)
    model.blend.control.zero_()
    model.blend.control[:, 3] = 1.0
    mixed = states(BASE, NAMES)[-1].clone()
    mixed[..., 3] = states(TUNED, NAMES)[-1][..., 3]
    torch.testing.assert_close(model.run(TOKENS).rebuilt[-1], mixed)


@pytest.mark.parametrize("causal", [True, False])
def test_derivatives_by_the_embedding_show_that_no_token_sees_the_next(causal):
    """Of the logits at each place by the models' inputs at each; the released code looks ahead."""
    base, tuned = (language(seed).module for seed in (0, 1))
    model = blended(base, tuned, causal=causal)
    moves = torch.zeros(TOKENS.shape[1], WIDTH, requires_grad=True)
    handles = [
        one.embed.register_forward_hook(lambda m, args, out: out + moves) for one in (base, tuned)
    ]
    logits = model(TOKENS[:1])[0]
    seen = torch.zeros(len(logits), len(moves), dtype=torch.bool)
    for place, row in enumerate(logits):
        (slope,) = torch.autograd.grad(row.square().sum(), moves, retain_graph=True)
        seen[place] = slope.abs().amax(1) > 0
    for handle in handles:
        handle.remove()
    assert bool((seen | ~torch.ones_like(seen).tril()).all())  # and every earlier one
    assert bool(seen.triu(1).any()) != causal


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_another_next_token_changes_nothing_before_it(causal):
    model = blended(causal=causal)
    before = model(TOKENS)
    other = TOKENS.clone()
    other[:, 6] = (other[:, 6] + 7) % 38 + 2
    after = model(other)
    assert torch.equal(before[:, :5], after[:, :5])
    assert torch.equal(before[:, 5], after[:, 5]) == causal
    assert not torch.equal(before[:, 6], after[:, 6])


def test_the_loss_by_hand_and_its_gradients_are_those_of_its_own_parameters():
    model = blended()
    done = model.run(TOKENS)
    log_p = done.logits[:, :-1].log_softmax(-1)
    expected = -log_p.gather(2, TOKENS[:, 1:, None]).mean()
    for layer in range(2):
        target = done.base[layer].clone()
        target[1:3] = done.tuned[layer][1:3]
        expected = expected + 3 * (done.rebuilt[layer] - target).square().mean()
    loss = blend_loss(model, TOKENS, TUNED_ROWS)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.blend.control.grad.abs().max() > 0
    bare = blended(rebuild=False)
    torch.testing.assert_close(
        blend_loss(bare, TOKENS, TUNED_ROWS),
        torch.nn.functional.cross_entropy(
            bare(TOKENS)[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten()
        ),
    )


@pytest.mark.parametrize("rebuild", [True, False])
def test_training_lowers_the_loss_and_leaves_both_models_alone(rebuild):
    base, tuned = (language(seed).module for seed in (0, 1))
    base.requires_grad_(True)
    kept = [parameter.clone() for one in (base, tuned) for parameter in one.parameters()]
    model = blended(base, tuned, rebuild=rebuild)
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == ({"blend", "autoencoders"} if rebuild else {"blend"})
    before = float(blend_loss(model, TOKENS, TUNED_ROWS).detach())
    train_blend(model, [(TOKENS, TUNED_ROWS)] * 40, rate=1e-2)
    assert float(blend_loss(model, TOKENS, TUNED_ROWS).detach()) < before
    after = [parameter for one in (base, tuned) for parameter in one.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(kept, after, strict=True))
    assert all(parameter.grad is None for parameter in after)


def test_models_of_elsewhere_are_blended():
    pytest.importorskip("transformers")
    base, tuned = (host("gpt2", seed).module for seed in (0, 1))
    tokens = TOKENS % 30 + 2
    model = BlendedModels(base, tuned, 8, "transformer.h.*", rebuild=False)
    with torch.no_grad():
        model.blend.control.zero_()
        torch.testing.assert_close(model(tokens), base(tokens).logits)
    model = BlendedModels(base, tuned, 8, "transformer.h.*")
    train_blend(model, [(tokens, TUNED_ROWS)] * 2)
    assert torch.isfinite(blend_loss(model, tokens, TUNED_ROWS))


def test_models_of_other_shapes_and_rates_that_are_too_large_are_refused():
    with pytest.raises(IsthmusError, match="one shape"):
        blended(BASE, language(0, layers=3).module)
    with pytest.raises(IsthmusError, match="not finite"):
        train_blend(blended(), [(TOKENS, TUNED_ROWS)] * 20, rate=1e30)
