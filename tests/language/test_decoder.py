"""The decoder against a plain NumPy transformer, and its cache against whole rows."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from isthmus.errors import IsthmusError
from isthmus.language import Cache, Decoder, Shape

SHAPE = Shape(vocabulary=23, width=12, heads=3, layers=2, context=16, hidden=20)


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    model = Decoder(SHAPE).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return model


def by_hand(model, row):
    """Logits of one row, ``(places, vocabulary)``, place by place and head by head."""
    w = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    head = SHAPE.width // SHAPE.heads

    def norm(x, gain):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * gain

    def turned(vector, place, block):
        out = vector.copy()
        if block in model.shape.still:
            return out
        for i in range(head // 2):
            angle = place * SHAPE.base ** (-2 * i / head)
            turn = np.exp(1j * angle) * (vector[i] + 1j * vector[i + head // 2])
            out[i], out[i + head // 2] = turn.real, turn.imag
        return out

    x = w["embed.weight"][row]
    for i in range(SHAPE.layers):
        at = f"layers.{i}."
        qkv = norm(x, w[at + "attention_norm.weight"]) @ w[at + "attention.qkv.weight"].T
        query, key, value = np.split(qkv, 3, 1)
        mixed = np.zeros_like(x)
        for h in range(SHAPE.heads):
            cols = slice(h * head, (h + 1) * head)
            for p in range(len(row)):
                scores = [
                    turned(query[p, cols], p, i) @ turned(key[j, cols], j, i) / np.sqrt(head)
                    for j in range(p + 1)
                ]
                mixed[p, cols] = softmax(scores) @ value[: p + 1, cols]
        x = x + mixed @ w[at + "attention.out.weight"].T
        up = norm(x, w[at + "mlp_norm.weight"]) @ w[at + "mlp.up.weight"].T
        gelu = 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
        x = x + gelu @ w[at + "mlp.down.weight"].T
    return norm(x, w["norm.weight"]) @ w["embed.weight"].T


def test_it_is_the_transformer_of_its_docstring(decoder):
    row = np.array([0, 5, 22, 5, 1, 7, 7, 13])
    with torch.no_grad():
        logits = decoder(torch.from_numpy(row)[None])[0]
    np.testing.assert_allclose(logits.numpy(), by_hand(decoder, row), rtol=2e-4, atol=2e-4)
    still = Decoder(replace(SHAPE, still=[1])).eval()
    assert still.shape.still == (1,)
    still.load_state_dict(decoder.state_dict())
    with torch.no_grad():
        found = still(torch.from_numpy(row)[None])[0]
    np.testing.assert_allclose(found.numpy(), by_hand(still, row), rtol=2e-4, atol=2e-4)
    assert (found - logits).abs().max() > 0.01


@settings(max_examples=25)
@given(st.data())
def test_a_cache_changes_no_logit(decoder, data):
    places = data.draw(st.integers(1, SHAPE.context))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, places - 1)))))
    rows = data.draw(st.integers(1, 3))
    draw = torch.Generator().manual_seed(places)
    tokens = torch.randint(0, SHAPE.vocabulary, (rows, places), generator=draw)
    cache = Cache()
    edges = [0, *(c for c in cuts if c < places), places]
    with torch.no_grad():
        whole = decoder(tokens)
        parts = [decoder(tokens[:, a:b], cache=cache) for a, b in itertools.pairwise(edges)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)
    assert cache.places == places


def test_no_place_sees_what_follows(decoder):
    tokens = torch.randint(0, SHAPE.vocabulary, (2, 9))
    other = tokens.clone()
    other[:, 5:] = (other[:, 5:] + 1) % SHAPE.vocabulary
    with torch.no_grad():
        a, b = decoder(tokens), decoder(other)
    torch.testing.assert_close(a[:, :5], b[:, :5])
    assert not torch.allclose(a[:, 5:], b[:, 5:])


def test_blocks_give_the_residual_stream_and_their_parts_add_to_it(decoder):
    seen = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name, module in decoder.named_modules()
        if name in ("embed", "layers.0", "layers.0.attention", "layers.0.mlp", "layers.1", "norm")
    ]
    with torch.no_grad():
        logits = decoder(torch.arange(6)[None])
    for hook in hooks:
        hook.remove()
    added = seen["embed"] + seen["layers.0.attention"] + seen["layers.0.mlp"]
    torch.testing.assert_close(added, seen["layers.0"])
    last = seen["layers.1"]
    size = (last.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    unembedding = decoder.embed.weight * decoder.norm.weight
    torch.testing.assert_close(last / size @ unembedding.T, logits)


def test_the_residual_stream_does_not_grow_at_the_start():
    torch.manual_seed(1)
    model = Decoder(Shape(vocabulary=50, layers=12)).eval()
    sizes = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _, __, out: sizes.append(float(out.std())))
    with torch.no_grad():
        logits = model(torch.randint(0, 50, (2, 40)))
    assert max(sizes) < 2 * 0.05
    assert log_softmax(logits.numpy(), -1).max() > -6
    assert float(logits.std()) < 1.5


def test_what_does_not_fit_is_refused(decoder):
    with pytest.raises(IsthmusError, match="17 places are more than the 16"):
        decoder(torch.zeros((1, 17), dtype=torch.int64))
    with pytest.raises(IsthmusError, match="pad rows on the right"):
        decoder(torch.zeros((1, 3), dtype=torch.int64), torch.tensor([[False, True, True]]))
    with pytest.raises(IsthmusError, match="multiple of 10"):
        Shape(width=12, heads=5)


def test_a_mask_of_padding_on_the_right_changes_nothing(decoder):
    tokens = torch.tensor([[1, 2, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    with torch.no_grad():
        assert torch.equal(decoder(tokens, mask), decoder(tokens))
