"""A model on this machine that is asked."""

import pytest
import torch
from torch import nn

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels import Local
from isthmus.interpretation.labels.chat import Prompt
from isthmus.language import LanguageModel


class Letters:
    """A tokenizer of characters; 0 begins a text and 1 ends it."""

    vocabulary, bos, special = 130, 0, frozenset({0, 1})

    def encode(self, text):
        return [2 + min(127, ord(c)) for c in text]

    def decode(self, tokens):
        return "".join(chr(t - 2) for t in tokens)

    def pieces(self, tokens):
        return [self.decode([t]) for t in tokens]


class Script(nn.Module):
    """Says what is written down for the last character before ``Answer:``, then ends the text."""

    def __init__(self, lines):
        super().__init__()
        self.lines, self.batches = lines, []

    def forward(self, tokens, attention_mask=None, **rest):
        text = [Letters().decode([t for t in row if t > 1]) for row in tokens.tolist()]
        logits = torch.zeros(*tokens.shape, Letters.vocabulary)
        self.batches.append(len(text))
        for i, row in enumerate(text):
            asked, _, said = row.partition("\n\nAnswer:")
            line = self.lines[asked[-1]]
            logits[i, -1, ord(line[len(said)]) + 2 if len(said) < len(line) else 1] = 9.0
        return logits


def model(lines, **options):
    return LanguageModel("letters", "r1", Script(lines), Letters(), context=200, **options)


def answers(chat, *questions):
    found = {}
    chat.ask([Prompt("Be brief.", q) for q in questions], found.__setitem__)
    return [found[i].text for i in range(len(questions))]


LINES = {"a": "[1, 0]", "b": "\n yes\n\nText 3: more", "c": ""}


def test_answers_end_with_the_text_or_an_empty_line():
    chat = Local(model(LINES), max_tokens=20)
    assert answers(chat, "ask a", "ask b", "then c") == ["[1, 0]", "yes", ""]
    assert chat.name == "local:letters"
    assert chat.spend.requests == 3
    size = len("Be brief.\n\nask a\n\nAnswer:") + 1
    assert chat.spend.tokens_in == 3 * size + 1  # "then c" is one longer
    assert chat.spend.tokens_out == 60


def test_prompts_of_one_length_go_together():
    host = model(LINES)
    answers(Local(host, max_tokens=3, rows=2), "a", "b", "aa", "c")
    assert sorted(set(host.module.batches)) == [1, 2]
    assert host.module.batches[0] == 1  # the longest first


def test_a_chat_template_is_used():
    tokenizer = Letters()
    tokenizer.chat = lambda messages: tokenizer.encode(f"<{messages[1]['content']}\n\nAnswer:")
    host = LanguageModel("letters", "r1", Script(LINES), tokenizer, context=200)
    assert answers(Local(host, max_tokens=8), "a") == ["[1, 0]"]


def test_a_prompt_that_does_not_fit():
    with pytest.raises(IsthmusError, match="do not fit the 200 places of 'letters'"):
        answers(Local(model(LINES), max_tokens=20), "a" * 200)


def test_a_model_that_cannot_write():
    with pytest.raises(IsthmusError, match="no causal language model"):
        Local(model(LINES, causal=False))
