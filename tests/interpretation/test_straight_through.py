"""Codebooks in a network: the gradients by hand, what learns, and how it is put together."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.interpretation import StraightThrough, learn_through
from isthmus.interpretation.splice import spliced
from isthmus.language import Decoder
from isthmus.language.decoder import Shape
from isthmus.recipes import get_recipe

SHAPE = Shape(vocabulary=7, width=8, heads=2, layers=2, context=12, hidden=16)


def codebook(d, codes=20, k=2, start="normal"):
    recipe = get_recipe("codebook")
    options, _ = recipe.parse({"latent_dim": codes, "k": k, "start": start, "scaling": "none"})
    return recipe.build(Signal("vector", (d,)), options)


def decoder(seed=0):
    torch.manual_seed(seed)
    return Decoder(SHAPE)


def lessons(n=200, seed=0):
    """Texts that count upwards, from anywhere."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        begin = rng.integers(7, size=(16, 1))
        tokens = torch.from_numpy((begin + np.arange(11)) % 7)
        yield tokens[:, :-1], tokens[:, 1:]


def test_values_are_the_codes_and_gradients_are_the_activations_own():
    torch.manual_seed(0)
    models = [codebook(3), codebook(3)]
    edit = StraightThrough(models)
    x = torch.randn(5, 6, requires_grad=True)
    weight = torch.randn(6)
    out = edit(x)
    halves = zip(models, x.detach().split(3, 1), strict=True)
    expected = np.concatenate([m.eval().reconstruct(part.numpy()) for m, part in halves], 1)
    np.testing.assert_allclose(out.detach(), expected, atol=1e-6)
    (out @ weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.expand(5, 6))
    for number, model in enumerate(models):
        chosen = model.encode(x.detach()[:, 3 * number : 3 * number + 3].numpy(), code=True).indices
        counts = torch.bincount(chosen.flatten(), minlength=20).float() / 2
        part = weight[3 * number : 3 * number + 3]
        torch.testing.assert_close(model.decoder.weight.grad, counts[:, None] * part)


def test_the_error_is_summed_over_elements_and_moves_codes_alone():
    torch.manual_seed(0)
    model = codebook(4, k=1)
    edit = StraightThrough([model])
    x = torch.randn(9, 4, requires_grad=True)
    rebuilt = edit(x).detach()
    assert edit.error.item() == pytest.approx(
        float((rebuilt - x.detach()).square().sum() / 9), rel=1e-5
    )
    edit.error.backward()
    assert x.grad is None
    assert model.decoder.weight.grad.abs().sum() > 0


def test_one_step_is_adamw_on_the_gradients_of_both_losses():
    """Against a network in which the codes are written into the forward pass by hand."""

    class ByHand(nn.Module):
        def __init__(self, module, codes):
            super().__init__()
            self.module, self.codes = module, nn.Parameter(codes)
            self.norm = nn.LayerNorm(8)
            self.error = None

        def forward(self, tokens):
            module, places = self.module, tokens.shape[1]
            x = module.embed(tokens)
            for i, layer in enumerate(module.layers):
                x = x + layer.attention(layer.attention_norm(x), module.rotation(i, 0, places))
                out = layer.mlp(layer.mlp_norm(x))
                if i == 0:
                    out = self.norm(out)
                    cosine = F.normalize(out, dim=-1) @ F.normalize(self.codes, dim=-1).T
                    new = self.codes[cosine.topk(2, -1).indices].mean(-2)
                    self.error = (new - out.detach()).square().sum(-1).mean()
                    out = new + out - out.detach()
                x = x + out
            return F.linear(module.norm(x), module.embed.weight)

    torch.manual_seed(1)
    model = codebook(8)
    copied = ByHand(decoder(), model.decoder.weight.detach().clone())
    optimiser = torch.optim.AdamW(copied.parameters(), lr=1e-2, weight_decay=0.01)
    for tokens, following in lessons(3):
        loss = F.cross_entropy(copied(tokens).flatten(0, 1), following.flatten())
        (loss + 0.5 * copied.error).backward()
        optimiser.step()
        optimiser.zero_grad()
    module = decoder()
    learn_through(module, {"layers.0.mlp": [model]}, lessons(3), steps=3, lr=1e-2, rebuild=0.5)
    torch.testing.assert_close(model.decoder.weight, copied.codes, rtol=1e-3, atol=1e-4)
    for (name, a), b in zip(module.named_parameters(), copied.module.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=name)


def test_a_network_learns_through_its_codes():
    module = decoder()
    parts = {
        "layers.0.mlp": [codebook(8, start="rows")],
        "layers.1.attention.out:in": [codebook(4, start="rows") for _ in range(2)],
    }
    losses = []
    edits = learn_through(
        module, parts, lessons(150), steps=150, lr=1e-2, report=lambda _, loss: losses.append(loss)
    )
    assert losses[0] > 1.5
    tokens, following = next(lessons(1, seed=5))
    with torch.no_grad(), spliced(module, edits):
        right = module(tokens).argmax(-1) == following
    assert right.float().mean() > 0.9
    assert not module.training


def test_codes_that_start_at_rows_start_at_the_first_lessons_activations():
    module, model = decoder(), codebook(8, start="rows")
    tokens, following = next(lessons(1))
    seen = []
    with torch.no_grad(), spliced(module, {"layers.1.mlp": lambda x: seen.append(x) or x}):
        module(tokens)
    learn_through(
        module,
        {"layers.1.mlp": [model]},
        [(tokens, following)],
        steps=1,
        lr=0.0,
        weight_decay=0.0,
        norm=False,
    )
    differences = model.decoder.weight.detach()[:, None] - seen[0].flatten(0, 1)
    assert differences.norm(dim=2).min(1).values.max() < 1e-5


def test_what_does_not_fit_is_one_sentence():
    with pytest.raises(IsthmusError, match=r"codebooks of \[3\] elements"):
        learn_through(decoder(), {"layers.0.mlp": [codebook(3)]}, lessons(1), steps=1)
    with pytest.raises(IsthmusError, match="3 lessons for 9 steps"):
        learn_through(decoder(), {}, lessons(3), steps=9)
    with pytest.raises(IsthmusError, match="nowhere"):
        learn_through(decoder(), {"nowhere": [codebook(8)]}, lessons(1), steps=1)
