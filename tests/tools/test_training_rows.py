"""Rows of training are a function of the seed and the step, and hold what they should."""

import numpy as np
import pytest
from tools.training_rows import IGNORED, Shares, inputs_of, repeated_row, rows_of, step_rows

from isthmus.language import Shape

SHAPE = Shape(vocabulary=50, context=16)
SHARES = Shares(generated=0.5, repeated=0.5, repeated_late=0.25, early=0.4)
PARTS = [
    [np.arange(1, 41), np.arange(5, 25)],
    [np.full(30, 48), np.full(9, 49), np.full(33, 47)],
]


def of_steps(begin):
    return list(step_rows(PARTS, SHAPE, SHARES, 8, 12, seed=3, begin=begin))


def test_what_is_resumed_goes_on_with_the_same_rows():
    whole = of_steps(0)
    assert len(whole) == 12
    for begin in (1, 5, 11):
        for left, right in zip(whole[begin:], of_steps(begin), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(("step", "counts"), [(4, (2, 2, 4)), (5, (3, 3, 2))])
def test_a_step_has_its_share_of_each_kind(step, counts):
    rows = of_steps(0)[step]
    generated = np.isin(rows, (IGNORED, 47, 48, 49)).all(1)
    follows = (np.diff(rows) == 1) | (rows[:, 1:] == IGNORED)
    assert (int(follows.all(1).sum()), int(generated.sum())) == counts[:2]
    found = SHARES.at(step, 12, 8)
    assert (found.english, found.generated, found.repeated) == counts


def test_an_epoch_has_every_token_once():
    rows = rows_of(PARTS[0], 16, [3, 0])
    assert sorted(rows[rows != IGNORED].tolist()) == sorted([*range(1, 41), *range(5, 25)])


def test_strings_come_again():
    row = repeated_row(np.random.default_rng(0), 256, 4096)
    assert row.shape == (256,)
    assert row.min() >= 1
    where = {}
    for place, token in enumerate(row.tolist()):
        where.setdefault(token, []).append(place)
    again = [np.diff(places) for places in where.values() if len(places) > 1]
    assert len(again) > 40
    assert np.concatenate(again).min() >= 8


def test_the_first_place_and_padding_see_the_beginning():
    assert inputs_of(np.array([[5, 6, IGNORED, IGNORED]]), 0).tolist() == [[0, 5, 6, 0]]
