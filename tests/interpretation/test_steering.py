"""Latents changed in a forward pass, everything else kept."""

import pytest
import torch

from isthmus.anatomy import SparseCode
from isthmus.errors import IsthmusError
from isthmus.interpretation import Steering, spliced, steered_generate
from isthmus.language import generate

from .made import POINT, WIDTH, dictionary, language, ordinary, residual, tokens

HOST, TEXT = language(), tokens()
X = residual(HOST, TEXT)[ordinary(TEXT)]
CHANGES = {
    "add": ({"add": {3: 2.5}}, lambda z: z + 2.5),
    "clamp": ({"clamp": {3: -1.5}}, lambda z: 0 * z - 1.5),
    "scale": ({"scale": {3: 3.0}}, lambda z: 3 * z),
    "ablate": ({"ablate": [3]}, lambda z: 0 * z),
}


def changed_code(model, x, latent, change, where_active=False):
    z = model.encode(x)
    new = z.clone()
    new[:, latent] = change(z[:, latent])
    if where_active:
        new = torch.where(z != 0, new, z)
    return z, new


@pytest.mark.parametrize("where_active", [False, True])
@pytest.mark.parametrize("scaling", ["none", "global", "columns"])
@pytest.mark.parametrize("recipe", ["topk", "relu-l1", "gated"])
@pytest.mark.parametrize("kind", CHANGES)
def test_the_code_is_changed_and_its_error_kept(kind, recipe, scaling, where_active):
    model = dictionary(recipe, scaling=scaling)
    arguments, change = CHANGES[kind]
    busiest = int((model.encode(X) != 0).sum(0).argmax())
    arguments = {
        name: {busiest: v[3]} if isinstance(v, dict) else [busiest] for name, v in arguments.items()
    }
    z, new = changed_code(model, X, busiest, change, where_active)
    expected = X - model.decode(z) + model.decode(new)
    found = Steering(model, **arguments, where_active=where_active)(X)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, X)


def test_several_latents_at_once():
    model = dictionary(scaling="columns")
    z = model.encode(X)
    new = z.clone()
    new[:, 0], new[:, 1], new[:, 2], new[:, 5] = 2.0, new[:, 1] + 1, 4 * new[:, 2], 0
    steering = Steering(model, add={1: 1.0}, clamp={0: 2.0}, scale={2: 4.0}, ablate=[5])
    expected = X - model.decode(z) + model.decode(new)
    torch.testing.assert_close(steering(X), expected, atol=1e-4, rtol=1e-4)


def test_a_decoder_that_is_not_linear():
    class Squared(torch.nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = weight

        def forward(self, z):
            return (z @ self.weight) ** 2

    model = dictionary("transcoder", scaling="columns")  # whose encoder has no centre
    model.decoder = Squared(model.decoder.weight)
    z, new = changed_code(model, X, 3, lambda z: z + 2)
    expected = X - model.decode(z) + model.decode(new)
    torch.testing.assert_close(Steering(model, add={3: 2.0})(X), expected, atol=1e-4, rtol=1e-4)


def test_where_nothing_changes_the_bits_are_kept():
    model = dictionary()
    active = model.encode(X)[:, 7] != 0
    found = Steering(model, scale={7: 5.0})(X)
    assert torch.equal(found[~active], X[~active])
    assert active.any()
    assert (found[active] != X[active]).any(1).all()


def test_a_sparse_code_stays_sparse(monkeypatch):
    def dense(self):
        raise AssertionError("the dense code was built")

    monkeypatch.setattr(SparseCode, "z", property(dense))
    Steering(dictionary(), clamp={3: 1.0, 40: 2.0})(X)


def test_places_and_special_tokens():
    kept = []
    steering = Steering(dictionary(), clamp={3: 9.0}, places=[0, 2, 4])
    edits = {POINT: steering, "layers.1:in": lambda x: kept.append(x) or x}
    with spliced(HOST, edits):
        HOST.logits(TEXT.ids, TEXT.mask)
    changed = (kept[0] != residual(HOST, TEXT)).any(2)
    wanted = ordinary(TEXT)
    wanted[:, [1, 3, *range(5, 14)]] = False
    assert torch.equal(changed, wanted)


def slow(host, prompt, new, edits):
    """The likeliest text without a cache: all of it through the model at every step."""
    text = prompt
    for _ in range(new):
        with spliced(host, edits):
            logits = host.logits(text)[:, -1]
        text = torch.cat((text, logits.argmax(1, keepdim=True)), 1)
    return text


@pytest.mark.parametrize("places", [None, slice(5, None), slice(2, 4), [1, 6, 8]])
def test_text_with_the_cache_is_that_without(places):
    steering = Steering(dictionary(), clamp={3: 6.0, 11: -4.0}, places=places)
    prompt = TEXT.ids[:, :4]
    found = steered_generate(HOST, prompt, POINT, steering, new=10, temperature=0.0)
    assert torch.equal(found, slow(HOST, prompt, 10, {POINT: steering}))
    assert not torch.equal(found, generate(HOST, prompt, 10, temperature=0.0))


def test_steering_from_a_place_on_leaves_what_comes_before():
    plain = generate(HOST, TEXT.ids[:, :4], 10, seed=1)
    late = Steering(dictionary(), clamp={3: 50.0}, places=slice(9, None))
    found = steered_generate(HOST, TEXT.ids[:, :4], POINT, late, new=10, seed=1)
    assert torch.equal(found[:, :10], plain[:, :10])
    assert not torch.equal(found, plain)
    nothing = Steering(dictionary(), scale={3: 1.0})
    assert torch.equal(
        steered_generate(HOST, TEXT.ids[:, :4], POINT, nothing, new=10, seed=1), plain
    )


def test_steering_towards_a_token_raises_it():
    """A latent's direct effect, from the last layer: the token that it raises most is written."""
    host, text = language(layers=1), tokens()
    model = dictionary(x=residual(host, text)[ordinary(text)])
    effects = model.decoder.weight @ host.unembedding.T
    latent = int(effects.max(1).values.argmax())
    steering = Steering(model, clamp={latent: 1e4})
    found = steered_generate(host, text.ids[:, :4], POINT, steering, new=5, temperature=0.0)
    assert (found[:, 4:] == effects[latent].argmax()).all()


def test_what_does_not_fit_is_said():
    model = dictionary()
    for arguments, words in (
        ({}, "nothing is steered"),
        ({"add": {3: 1.0}, "ablate": [3]}, "latent 3"),
    ):
        with pytest.raises(IsthmusError, match=words):
            Steering(model, **arguments)
    for latent in (48, -1):
        with pytest.raises(IsthmusError, match=f"no latent {latent}"):
            Steering(model, ablate=[latent])(X)
    with pytest.raises(IsthmusError, match="autoencoder reads"):
        Steering(model, ablate=[1])(torch.randn(3, WIDTH + 1))
