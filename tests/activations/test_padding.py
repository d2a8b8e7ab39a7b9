"""A token's activations are those of its text alone, whatever pads its row and stands beside it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.activations import Streamed, harvest
from isthmus.activations.feed_factory import TextFeed
from isthmus.errors import IsthmusError
from isthmus.language import Tokens
from isthmus.language.calling import call_arguments

from .hosts import HOSTS, host
from .tiny import Letters

pytest.importorskip("transformers")

MADE = {name: host(name) for name in HOSTS}
KINDS = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.float32,
]


def padded(texts, sides, kind=torch.bool, junk=0, extra=0):
    """Rows of tokens with padding on the sides given: left, right or both."""
    places = max(map(len, texts)) + extra
    ids = torch.full((len(texts), places), junk)
    mask = torch.zeros(len(texts), places, dtype=torch.bool)
    for row, (text, side) in enumerate(zip(texts, sides, strict=True)):
        room = places - len(text)
        begin = {"left": room, "right": 0, "both": room // 2}[side]
        ids[row, begin : begin + len(text)] = torch.tensor(text)
        mask[row, begin : begin + len(text)] = True
    numbers = torch.arange(len(texts))
    return Tokens(ids, mask.to(kind), numbers, 0 * numbers, [f"t{i}" for i in range(len(texts))])


def alone(model, text, at):
    """Activations by hooks of one's own, of the text by itself: ``(places, width)`` by point."""
    held = {}
    handles = []
    for point in at:
        name, _, key = point.partition(":")
        part = model.module if name == "." else model.module.get_submodule(name)

        def keep(_, args, kwargs, out, point=point, key=key, part=part):
            if key == "in":
                out = args[0]
            elif key:
                out = out[key]
            out = out[0] if isinstance(out, tuple) else out
            if getattr(part, "batch_first", True) is False:
                out = out.transpose(0, 1)
            held[point] = out[0]

        handles.append(part.register_forward_hook(keep, with_kwargs=True))
    args, kwargs = call_arguments(model.module, torch.tensor([text]), None)
    with torch.no_grad():
        model.module(*args, **kwargs)
    for handle in handles:
        handle.remove()
    return held


TEXTS = [[1, 4, 9], [1, 7, 3, 22, 8, 30, 5, 6, 11], [1, 12, 12, 5, 2], [4]]


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_the_side_of_the_padding_changes_nothing(name, side):
    model, at = MADE[name], HOSTS[name][2]
    feed = TextFeed(model, padded(TEXTS, [side] * 4, junk=7), at, skip_special=False)
    kept = feed.run(torch.arange(4))
    for row, text in enumerate(TEXTS):
        right = alone(model, text, at)
        for point in at:
            mine = kept.values[point][kept.row == row]
            assert mine.shape == right[point].shape
            apart = float((mine - right[point]).norm() / right[point].norm())
            assert apart < 1e-5, (point, row)


@given(
    name=st.sampled_from(sorted(HOSTS)),
    texts=st.lists(st.lists(st.integers(2, 31), min_size=1, max_size=9), min_size=1, max_size=4),
    sides=st.lists(st.sampled_from(["left", "right", "both"]), min_size=4, max_size=4),
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, 4),
    extra=st.integers(0, 3),
)
@settings(max_examples=60)
def test_nothing_but_its_text_counts(name, texts, sides, kind, batch, extra):
    model, at = MADE[name], HOSTS[name][2]
    tokens = padded(texts, sides[: len(texts)], kind, junk=3, extra=extra)
    assert tokens.mask.dtype == torch.bool
    feed = TextFeed(model, tokens, at)
    for rows in torch.arange(len(texts)).split(batch):
        kept = feed.run(rows)
        for row in rows.tolist():
            right = alone(model, texts[row], at)
            place = tokens.mask[row].nonzero().flatten()
            assert torch.equal(kept.place[kept.row == row], place)
            for point in at:
                mine = kept.values[point][kept.row == row]
                assert float((mine - right[point]).norm()) < 1e-5 * float(right[point].norm())


@pytest.mark.parametrize("name", ["gpt2", "opt", "bert", "mamba", "both ways"])
def test_logits_are_those_of_the_text_alone(name):
    model = MADE[name]
    tokens = padded(TEXTS, ["left", "left", "both", "right"])
    found = model.logits(tokens.ids, tokens.mask.float())
    for row, text in enumerate(TEXTS):
        right = model.logits(torch.tensor([text]))[0]
        torch.testing.assert_close(found[row][tokens.mask[row]], right, rtol=1e-4, atol=1e-5)


def test_a_store_of_left_padded_rows_is_that_of_right_padded_ones(tmp_path):
    model = MADE["gpt2"]
    stores = [
        harvest(model, padded(TEXTS, [side] * 4), "transformer.h.0", tmp_path / side,
                dtype="float32", progress=False)
        for side in ("left", "right")
    ]  # fmt: skip
    index = torch.arange(len(stores[0]))
    left, right = (store.rows("transformer.h.0", index) for store in stores)
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)
    assert torch.equal(*(store.where(index)["token"] for store in stores))


def test_streamed_rows_are_those_of_the_text_alone():
    model = MADE["opt"]
    source = Streamed(model, padded(TEXTS, ["left"] * 4), "model.decoder.layers.1", batch=3)
    at = source.where(torch.arange(len(source)))
    for row, text in enumerate(TEXTS):
        right = alone(model, text, ["model.decoder.layers.1"])["model.decoder.layers.1"]
        right = right[[t not in Letters.special for t in text]]
        mine = source.rows((at["row"] == row).nonzero().flatten())
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (torch.tensor([[0.0, -1e9]]), "pass 1 .or True. at tokens"),
        (torch.tensor([[1, 2]]), "the mask holds 2"),
        (torch.ones(1, 3), "the mask has the shape"),
    ],
)
def test_masks_that_are_none(mask, said):
    with pytest.raises(IsthmusError, match=said):
        Tokens(torch.tensor([[1, 2]]), mask, torch.zeros(1), torch.zeros(1), ["a"])


def test_a_token_that_the_model_does_not_know():
    with pytest.raises(IsthmusError, match="knows 32 tokens"):
        TextFeed(MADE["gpt2"], padded([[1, 40]], ["right"]), "transformer.h.0")
