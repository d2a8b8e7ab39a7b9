"""What a model finds most likely, against one option at a time."""

from dataclasses import replace

import numpy as np
import torch

from isthmus.language import Decoder, Shape, resident
from isthmus.language.knowledge import Question, answered, option_nats

ASKED = [
    Question("x", "The captain was", " here", (" here", " not here at all"), True),
    Question(
        "x", "No", " wonder that it was so", (" wonder that it was so", " more", " one"), True
    ),
]


def host():
    torch.manual_seed(0)
    module = Decoder(Shape(width=16, heads=2, layers=1, hidden=16)).eval().requires_grad_(False)
    return replace(resident(), module=module, name="tiny")


def test_options_cost_what_their_tokens_cost_one_by_one():
    model = host()
    encode = model.tokenizer.encode
    for question, nats in zip(ASKED, option_nats(model, ASKED, batch=2), strict=True):
        for option, found in zip(question.options, nats, strict=True):
            row, expected = [0, *encode(question.prompt)], 0.0
            for token in encode(option):
                expected -= float(model.module(torch.tensor([row]))[0, -1].log_softmax(-1)[token])
                row.append(token)
            assert np.isclose(found, expected, rtol=1e-5)


def test_the_answer_is_the_most_likely_option():
    found = option_nats(host(), ASKED)
    best = [q.options[nats.argmin()] for q, nats in zip(ASKED, found, strict=True)]
    turned = [replace(q, answer=option) for q, option in zip(ASKED, best, strict=True)]
    assert answered(host(), turned).tolist() == [True, True]
    wrong = [
        replace(q, answer=next(o for o in q.options if o != b))
        for q, b in zip(ASKED, best, strict=True)
    ]
    assert answered(host(), wrong).tolist() == [False, False]
