"""Text as characters, models of it, and their perplexity by hand."""

import numpy as np
import pytest
import torch

from isthmus import data
from isthmus.studies import Trial
from isthmus.studies.benches.character_models import (
    CONTEXT,
    NAME,
    Text,
    character_model,
    perplexity,
    shakespeare,
)

TEXT = Text(torch.arange(3000) % 7, torch.arange(300) % 7, 7)
"""Each character tells the next."""


def test_rows_are_pieces_of_the_text_and_backwards_they_are_reversed():
    rng = np.random.default_rng(0)
    rows = TEXT.rows(20, rng)
    assert rows.shape == (20, CONTEXT)
    assert ((rows.diff(dim=1) % 7) == 1).all()
    back = TEXT.backwards
    assert ((back.rows(20, rng, held=True).diff(dim=1) % 7) == 6).all()
    assert torch.equal(back.backwards.seen, TEXT.seen)


def test_perplexity_is_that_of_the_probabilities_by_hand():
    model = character_model(TEXT, Trial(0, probing=True), 3)
    rows = TEXT.rows(150, np.random.default_rng(1))
    p = model(rows)[:, :-1].double().softmax(-1).gather(2, rows[:, 1:, None])
    np.testing.assert_allclose(perplexity(model, rows), float((-p.log().mean()).exp()), rtol=1e-4)


def test_a_copy_is_tuned_and_the_model_stays():
    model = character_model(TEXT, Trial(0, probing=True), 6)
    before = model.embed.weight.clone()
    rows = TEXT.backwards.rows(32, np.random.default_rng(2))
    tuned = character_model(TEXT.backwards, Trial(0, probing=True), 6, model)
    assert torch.equal(model.embed.weight, before)
    assert perplexity(tuned, rows) < perplexity(model, rows)
    again = character_model(TEXT.backwards, Trial(0, probing=True), 6, model)
    assert torch.equal(tuned.embed.weight, again.embed.weight)


@pytest.mark.skipif(not data.is_name(NAME), reason=f"needs {NAME}")
def test_the_text_is_all_there():
    text = shakespeare()
    assert text.vocabulary == 65
    assert len(text.seen) + len(text.held) == 1_115_394
