"""Repeated strings, and the units that fire where a token is next by them."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from isthmus.language import Tokens, resident
from isthmus.studies.interpret import induction
from isthmus.studies.interpret.induction import BETWEEN, FIRST, SECOND, STRING, Copies


def text():
    ids = torch.arange(2, 202).repeat(4, 1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    return Tokens(ids, mask, torch.arange(4), torch.zeros(4).long(), list("abcd"))


def test_rows_hold_a_string_twice_and_know_what_is_next():
    among = list(range(300, 340))
    made = induction.copies(resident(), text(), among, 6, 0)
    first, second = (made.ids[:, at : at + STRING] for at in (FIRST, SECOND))
    assert torch.equal(first, second)
    assert torch.equal(made.ids[:, :BETWEEN], text().ids[:1, 1 : 1 + BETWEEN].expand(6, -1))
    assert all(len(set(row.tolist())) == STRING for row in first)
    assert set(first.flatten().tolist()) <= set(among)
    wanted = made.next_token.reshape(made.ids.shape)
    places = np.argwhere(wanted >= 0)
    assert len(places) == 6 * (STRING - 1)
    for row, place in places:
        assert made.ids[row, place + 1] == wanted[row, place]
        before = made.ids[row, :place].tolist().index(int(made.ids[row, place]))
        assert made.ids[row, before + 1] == wanted[row, place]


def test_precision_is_that_of_sklearn_with_ties():
    rng = np.random.default_rng(0)
    values = np.round(rng.standard_normal((400, 3)).clip(0), 1)
    right = rng.random(400) < 0.1
    found = induction.average_precision(values, np.flatnonzero(right))
    for i in range(3):
        assert found[i] == pytest.approx(average_precision_score(right, values[:, i]))


def test_units_are_chosen_on_one_half_and_judged_on_the_other():
    rng = np.random.default_rng(1)
    wanted = np.where(rng.random(2000) < 0.2, rng.integers(0, 4, 2000), -1)
    units = rng.random((2000, 6))
    units[:, :4] += 2.0 * (wanted[:, None] == np.arange(4))
    assert induction.best_units(units, wanted, range(4)) == 1.0
    assert induction.probed(units, wanted, range(4)) > 0.99
    units[1000:, :4] = rng.random((1000, 4))  # nothing there that the choice promised
    assert induction.best_units(units, wanted, range(4)) < 0.2


def test_a_head_that_looks_behind_the_same_token_scores_one(monkeypatch):
    made = induction.copies(resident(), text(), list(range(300, 340)), 3, 0)

    def looks(module, layer, x):
        pattern = torch.zeros(module.shape.heads, len(x), len(x), dtype=torch.float64)
        if layer == 2:
            ids = made._begun()[0]
            for place in range(1 + SECOND, SECOND + STRING):
                same = (ids[:place] == ids[place]).nonzero().flatten()[0]
                pattern[1, place, same + 1] = 1.0
        return pattern

    monkeypatch.setattr(induction, "attention_pattern", looks)
    scores = Copies(made.model, made.ids[:1]).scores()
    assert scores[2, 1] == 1.0
    assert scores.sum() == 1.0


def test_losses_are_of_the_copies_alone():
    made = induction.copies(resident(), text(), list(range(300, 340)), 3, 0)
    log_p = made.model.logits(made._begun()).log_softmax(-1)
    for begin, found in zip((FIRST, SECOND), made.losses(), strict=True):
        wanted = [
            -float(log_p[row, place, made.ids[row, place]])
            for row in range(3)
            for place in range(begin + 1, begin + STRING)
        ]
        assert found == pytest.approx(np.mean(wanted), rel=1e-4)
