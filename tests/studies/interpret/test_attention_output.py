"""The study of attention dictionaries: contexts, families of heads, planted copies."""

import numpy as np
import pytest
import torch

from isthmus.language import Tokens
from isthmus.studies.interpret import attention_output as study
from isthmus.studies.interpret.attention_output import Contexts, agreements


def test_a_units_strongest_tokens_agree_where_it_follows_a_context():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 50, (20_000, 3))
    units = np.zeros((20_000, 3))
    units[kinds[:, 1] == 7, 0] = 1.0 + rng.random(int((kinds[:, 1] == 7).sum()))
    units[:, 1] = rng.random(20_000)
    units[:5, 2] = 1.0  # too few to count
    often, agreed = agreements(units, Contexts(kinds))
    assert often.tolist() == [0, 1]
    assert agreed[0].argmax() == 1
    assert agreed[0, 1] == 1.0
    assert agreed[1].max() < 0.3
    looked = study._looked_at(units, Contexts(kinds))
    assert looked["purity_of_all_firing"] == pytest.approx((1.0 + 0.02) / 2, abs=0.01)


def test_a_heads_families_are_those_of_its_largest_latents():
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 50, (20_000, 2))
    latents = study.HEADS * study.OF_HEAD
    units = np.zeros((20_000, latents))
    shares = torch.full((latents, study.HEADS), 0.01)
    for i in range(latents):
        head, number = divmod(i, study.OF_HEAD)
        shares[i, head] = 0.9
        # The first head has two families, the others one.
        kind = number % 2 if head == 0 else 1
        on = kinds[:, kind] == number
        units[on, i] = 1.0 + rng.random(int(on.sum()))
    found = study._heads(units, Contexts(kinds), shares, 0.5)
    assert found["heads_of_two_families"] == pytest.approx(1 / study.HEADS)
    assert found["families_of_a_head"] == pytest.approx(1 + 1 / study.HEADS)
    assert found["latents_of_a_family"] == 1.0
    mixed = Contexts(kinds).shuffled(0, 3)
    assert study._heads(units, mixed, shares, 0.5)["heads_of_two_families"] == 0.0


def test_precision_is_of_the_latent_chosen_on_other_rows():
    fired = torch.zeros(20, 30, 2, dtype=torch.bool)
    second = torch.zeros(20, 30, dtype=torch.bool)
    second[:, 10:20] = True
    fired[:, 10:18, 0] = True
    fired[:, 0:2, 0] = True
    fired[10:, 10:20, 1] = True  # perfect, but only where it is judged
    found = study._induction(fired, second)
    assert found["induction_precision"] == pytest.approx(0.8)
    assert found["induction_recall"] == pytest.approx(0.8)


def test_planted_rows_hold_a_string_twice():
    ids = torch.arange(2, 202).repeat(4, 1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    text = Tokens(ids, mask, torch.arange(4), torch.zeros(4).long(), list("abcd"))
    rows = study.planted(text, 6, 0)
    begin, length = study.BETWEEN, study.STRING
    first, second = rows[:, begin : begin + length], rows[:, 2 * begin + length :][:, :length]
    assert torch.equal(first, second)
    assert torch.equal(rows[:, :begin], ids[:1, 1 : 1 + begin].expand(6, -1))
    assert len(first.unique()) > 5 * length


def test_units_fire_as_often_as_they_are_asked_to():
    units = np.random.default_rng(2).normal(size=(10_000, 4))
    on = study._strongest(units, 0.02)
    assert (on.sum(0) == 200).all()
    assert (units[on].min() >= np.sort(units, 0)[-200]).any()
