"""A real model through ``transformers``: stories260K, converted."""

import pytest
import torch
from tests.language.stories import greedy_text, stories_folder

from isthmus.language import Tokenizer, generate, open_model, pack
from isthmus.language.document import Document


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    return open_model(str(stories_folder(tmp_path_factory.mktemp("stories"))))


def test_it_writes_what_its_author_states(stories):
    bos = torch.tensor([[stories.tokenizer.bos]])
    row = generate(stories, bos, 60, temperature=0)[0].tolist()
    assert stories.tokenizer.decode(row) == greedy_text()


def test_its_facts(stories):
    assert stories.causal
    assert stories.context == 512
    assert stories.layers == "model.layers.*"
    assert stories.tokenizer.vocabulary == 512
    assert stories.tokenizer.bos == 1
    assert stories.tokenizer.special == {0, 1, 2}
    assert isinstance(stories.tokenizer, Tokenizer)


def test_its_pieces_spell_the_text(stories):
    text = "Once upon a time, Zoë said: 日\n"
    tokens = stories.tokenizer.encode(text)
    assert stories.tokenizer.decode(tokens) == text
    pieces = stories.tokenizer.pieces([1, *tokens])
    assert pieces[:3] == ["<s>", " Once", " upon"]
    assert "\n" in pieces
    assert "<0x" not in "".join(pieces)


def test_no_text_can_write_a_special_token(stories):
    tokens = stories.tokenizer.encode("a <s> b")
    assert 1 not in tokens
    assert stories.tokenizer.decode(tokens) == "a <s> b"


def test_the_unembedding_makes_its_logits_up_to_a_scale_a_place(stories):
    tokens = pack([Document("a", greedy_text())], stories.tokenizer, 32)
    kept = []
    hook = stories.module.model.layers[-1].register_forward_hook(
        lambda _, __, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    logits = stories.logits(tokens.ids, tokens.mask)
    hook.remove()
    residual = kept[0]
    size = (residual.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    made = residual / size @ stories.unembedding.T
    torch.testing.assert_close(made, logits, rtol=1e-4, atol=1e-3)


def test_padding_on_the_right_changes_no_logit(stories):
    tokens = stories.tokenizer.encode("She loved to play")
    alone = stories.logits(torch.tensor([tokens]))
    padded = torch.tensor([[*tokens, 0, 0, 0]])
    mask = torch.arange(padded.shape[1])[None] < len(tokens)
    torch.testing.assert_close(stories.logits(padded, mask)[:, : len(tokens)], alone)


def test_its_loss_is_near_the_one_that_is_documented(stories):
    """0.69 nats a token on a sentence like those it was trained on."""
    tokens = stories.tokenizer.encode(greedy_text())
    row = torch.tensor([[1, *tokens]])
    logits = stories.logits(row)[0, :-1].double()
    loss = torch.nn.functional.cross_entropy(logits, row[0, 1:])
    assert loss < 0.8


def test_cached_generation_is_that_of_the_whole_text(stories):
    bos = torch.tensor([[1], [1]])
    rows = generate(stories, bos, 20, seed=3)
    assert torch.equal(rows, generate(stories, bos, 20, seed=3))
    logits = stories.logits(rows[:, :-1])
    shared = [greedy(logits[i]) for i in range(2)]
    cached = generate(stories, rows[:, :10], 1, temperature=0)[:, -1]
    assert cached.tolist() == [row[9] for row in shared]


def greedy(logits):
    return logits.argmax(-1).tolist()
