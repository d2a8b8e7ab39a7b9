"""The resident model's text in two parts, and its activations."""

import numpy as np
import pytest
import torch

from isthmus.activations import Activations
from isthmus.language import Document
from isthmus.studies.interpret import resident


@pytest.fixture(autouse=True)
def _text(monkeypatch):
    """Twelve made documents in place of the corpora, which are not everywhere."""
    made = [Document(f"d{i}", f"This is number {i}. " * (5 * i + 5)) for i in range(12)]
    monkeypatch.setattr(resident, "documents", lambda spec: made)
    for cached in (resident.tokens, resident._dealt, resident.store, resident.rows):
        cached.cache_clear()
    yield
    for cached in (resident.tokens, resident._dealt, resident.store, resident.rows):
        cached.cache_clear()


@pytest.mark.parametrize("seed", range(5))
def test_no_document_is_in_both_parts_and_a_third_of_the_text_is_for_testing(seed):
    parts = {part: resident.tokens(part, seed) for part in ("train", "test")}
    names = {part: {some.names[d] for d in some.document.tolist()} for part, some in parts.items()}
    assert not names["train"] & names["test"]
    assert len(names["train"] | names["test"]) == 12
    sizes = {part: int(some.mask.sum()) for part, some in parts.items()}
    assert 0.3 < sizes["test"] / sum(sizes.values()) < 0.5


def test_seeds_deal_differently():
    assert len({tuple(sorted(resident.tokens("test", seed).names)) for seed in range(5)}) > 1


def test_activations_are_those_of_the_text():
    store = resident.store("test", ("layers.0", resident.POINT), 0, 300)
    tokens = resident.tokens("test", 0, 300)
    assert len(store) == int((tokens.mask & (tokens.ids != resident.host().tokenizer.bos)).sum())
    assert len(store) <= 300
    direct = Activations(resident.host().module, resident.POINT)(
        tokens.ids, attention_mask=tokens.mask
    )[resident.POINT]
    where = store.where(torch.arange(len(store)))
    rows = resident.rows("test", resident.POINT, 0, 300)
    wanted = direct[where["row"], where["place"]].numpy()
    assert np.abs(rows - wanted).max() <= 1e-3 * np.abs(wanted).max()
    assert resident.rows("test", resident.POINT, 0, 300) is rows
