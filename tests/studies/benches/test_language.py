"""The bench of language: two texts, and activations of them."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.activations import Activations
from isthmus.language import Document
from isthmus.studies import Coded, Trial
from isthmus.studies.benches import language


@pytest.fixture(autouse=True)
def _text(monkeypatch):
    """Twelve made documents in place of the corpora, which are not everywhere."""

    def made(spec):
        return [Document(f"{spec} {i}", f"This is number {i}. " * (5 * i + 5)) for i in range(12)]

    monkeypatch.setattr(language, "documents", made)
    for cached in (language.tokens, language.store, language.rows):
        cached.cache_clear()
    yield
    for cached in (language.tokens, language.store, language.rows):
        cached.cache_clear()


def test_the_two_parts_are_different_texts_in_an_order_of_the_seed():
    parts = {part: language.tokens(part, 0) for part in ("train", "test")}
    assert set(parts["train"].names) == {f"training {i}" for i in range(12)}
    assert set(parts["test"].names) == {f"held-out {i}" for i in range(12)}
    first = {tuple(language.tokens("train", seed, 200).names) for seed in range(5)}
    assert len(first) > 1


def test_each_model_has_the_text_that_it_was_trained_on():
    names = {f"circuits-{part} {i}" for part in ("training", "held-out") for i in range(12)}
    read = [language.tokens(part, 0, name="circuits").names for part in ("train", "test")]
    assert {name for part in read for name in part} == names


def test_activations_are_those_of_the_text():
    store = language.store("test", ("layers.0", language.POINT), 0, 300)
    tokens = language.tokens("test", 0, 300)
    assert len(store) == int((tokens.mask & (tokens.ids != language.host().tokenizer.bos)).sum())
    assert len(store) <= 300
    direct = Activations(language.host().module, language.POINT)(
        tokens.ids, attention_mask=tokens.mask
    )[language.POINT]
    where = store.where(torch.arange(len(store)))
    rows = language.rows("test", language.POINT, 0, 300)
    wanted = direct[where["row"], where["place"]].numpy()
    assert np.abs(rows - wanted).max() <= 1e-3 * np.abs(wanted).max()
    assert language.rows("test", language.POINT, 0, 300) is rows


def test_what_the_model_loses_is_measured_and_nothing_is_lost_of_itself(monkeypatch):
    bench = language.language(fitted=600, held=300, spliced=400)
    ground = bench.open(Trial(0))
    model = isthmus.fit(
        "topk", ground.rows, latent_dim=256, k=8, steps=60, batch_size=128, progress=False
    )
    found = bench.measured(model, ground, ("fvu", "l0", "losses"))
    assert found["l0"] == 8.0
    assert 0.0 < found["fvu"] < 1.0
    assert found["kl"] > 0.0  # which no reconstruction but the activation itself makes zero
    itself = Coded(lambda x: x, lambda z: z)
    assert bench.measured(itself, ground, ("fvu", "losses")) == {"fvu": 0.0}
