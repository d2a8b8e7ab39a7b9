"""Gradients of the next token's loss, against differences of the loss itself."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from isthmus.activations import Streamed, harvest
from isthmus.activations.gradients import loss_gradients
from isthmus.activations.hooks import hooked
from isthmus.activations.points import resolve
from isthmus.errors import IsthmusError

from .tiny import Model, language, tokens

POINTS = ("layers.1", "layers.1:gradient", "layers.0.mlp:in:gradient")


def loss(module, ids, length):
    logits = module(ids[None, :length])[0]
    return F.cross_entropy(logits[:-1], ids[1:length], reduction="sum")


def differences(module, point, ids, length, step=1e-5):
    """Central differences of the loss of one row by each element of the activation."""
    (place,) = resolve(module, point)
    shape = (length, module.embed.weight.shape[1])
    out = torch.zeros(shape, dtype=torch.float64)
    for token in range(length):
        for element in range(shape[1]):
            sides = []
            for sign in (1.0, -1.0):

                def moved(x, sign=sign, token=token, element=element):
                    x = x.clone()
                    x[0, token, element] += sign * step
                    return x

                handle = hooked(place, moved)
                sides.append(float(loss(module, ids, length)))
                handle.remove()
            out[token, element] = (sides[0] - sides[1]) / (2 * step)
    return out


@torch.no_grad()
def test_gradients_are_differences_of_the_summed_loss_whatever_is_padding():
    module, text = language().module.double(), tokens(4, 7)
    ids, mask = text.ids, text.mask
    assert not mask.all()
    found = loss_gradients(module, resolve(module, POINTS), ids, mask, (ids, mask), {})
    assert tuple(found) == POINTS
    for row, length in ((0, 7), (3, int(mask[3].sum()))):
        for point in ("layers.1", "layers.0.mlp:in"):
            wanted = differences(module, point, ids[row], length)
            got = found[f"{point}:gradient"][row, :length]
            torch.testing.assert_close(got, wanted, atol=1e-8, rtol=1e-6)
            assert got.abs().max() > 1e-3
    assert all(parameter.grad is None for parameter in module.parameters())


def test_they_are_harvested_beside_the_activations(tmp_path):
    """From frozen and from trainable models, in a store and as they are needed."""
    host, text = language(), tokens(8)
    points = ["layers.1", "layers.1:gradient"]
    store = harvest(host, text, points, tmp_path / "a", dtype="float32", progress=False)
    host.module.requires_grad_(True)
    source = Streamed(host, text, points)
    assert all(parameter.grad is None for parameter in host.module.parameters())
    index = torch.arange(len(source))
    rows, where = source.rows(index), source.where(index)
    mine = store.where(torch.arange(len(store)))
    order = {
        (int(r), int(p)): i for i, (r, p) in enumerate(zip(mine["row"], mine["place"], strict=True))
    }
    same = torch.tensor(
        [order[int(r), int(p)] for r, p in zip(where["row"], where["place"], strict=True)]
    )
    for point in points:
        assert rows[point].requires_grad is False
        torch.testing.assert_close(store.rows(point, same), rows[point])
    plain = Streamed(host, text, "layers.1").rows(index)
    torch.testing.assert_close(rows["layers.1"], plain)


def test_rare_large_gradients_leave_no_token_out(tmp_path):
    """Attention sinks are found by the activations; gradients are heavy-tailed anyway."""
    host, text = language(), tokens(8)
    points = ["layers.1", "layers.1:gradient"]
    both = harvest(host, text, points, tmp_path / "a", max_norm=2.0, progress=False)
    plain = harvest(host, text, "layers.1", tmp_path / "b", max_norm=2.0, progress=False)
    assert len(both) == len(plain) > 0
    assert both.provenance.points["layers.1:gradient"].limit is None


class Overwriting(Model):
    """A module that writes into what it was given, and one that nothing is made of."""

    def __init__(self):
        super().__init__()
        self.idle = torch.nn.Linear(6, 6)

    def forward(self, tokens, attention_mask=None):
        x, _ = self.layers[0](self.embed(tokens))
        self.idle(x)
        x.mul_(2.0)
        return self.head(x)


def test_what_is_overwritten_later_keeps_its_value_and_its_gradient():
    torch.manual_seed(0)
    module, text = Overwriting(), tokens(2, 5)
    places = resolve(module, ["layers.0", "layers.0:gradient"])
    found = loss_gradients(module, places, text.ids, text.mask, (text.ids,), {})
    x = module.layers[0](module.embed(text.ids))[0].detach().requires_grad_()
    logits = module.head(2.0 * x)[:, :-1].flatten(0, 1)
    F.cross_entropy(logits, text.ids[:, 1:].flatten(), reduction="sum").backward()
    torch.testing.assert_close(found["layers.0"], x.detach())
    torch.testing.assert_close(found["layers.0:gradient"], x.grad)
    with pytest.raises(IsthmusError, match="does not depend on 'idle'"):
        loss_gradients(
            module, resolve(module, "idle:gradient"), text.ids, text.mask, (text.ids,), {}
        )


def test_a_point_that_is_not_passed_and_a_model_that_predicts_nothing_are_refused():
    module, text = language().module, tokens(2, 5)
    module.spare = torch.nn.Linear(6, 6)
    with pytest.raises(IsthmusError, match="does not come by 'spare'"):
        loss_gradients(
            module, resolve(module, "spare:gradient"), text.ids, text.mask, (text.ids,), {}
        )
    masked = dataclasses.replace(language(), causal=False)
    with pytest.raises(IsthmusError, match="leave out the points that end in :gradient"):
        Streamed(masked, tokens(8), ["layers.1", "layers.1:gradient"])
