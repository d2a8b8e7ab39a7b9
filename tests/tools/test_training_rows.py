"""Rows of training are a function of the seed and the step, and hold what they should."""

import numpy as np
import pytest
from tools.training_rows import (
    IGNORED,
    Rows,
    at_step,
    before,
    inputs_of,
    repeated_row,
    rows_of,
    step_rows,
)

from isthmus.language import Shape

SHAPE = Shape(vocabulary=50, context=16)
EARLY, LATE = Rows(2, 2, 4), Rows(3, 3, 2)
PHASES = ((0.4, EARLY), (1.0, LATE))
PARTS = [
    [np.arange(1, 41), np.arange(5, 25)],
    [np.full(30, 48), np.full(9, 49), np.full(33, 47)],
]


def of_steps(begin):
    return list(step_rows(PARTS, SHAPE, PHASES, 12, seed=3, begin=begin))


def test_what_is_resumed_goes_on_with_the_same_rows():
    whole = of_steps(0)
    assert len(whole) == 12
    for begin in (1, 5, 11):
        for left, right in zip(whole[begin:], of_steps(begin), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(("step", "wanted"), [(4, EARLY), (5, LATE)])
def test_a_step_has_the_rows_of_its_phase(step, wanted):
    rows = of_steps(0)[step]
    generated = np.isin(rows, (IGNORED, 47, 48, 49)).all(1)
    follows = (np.diff(rows) == 1) | (rows[:, 1:] == IGNORED)
    found = Rows(int(follows.all(1).sum()), int(generated.sum()))
    assert found == Rows(wanted.english, wanted.generated)
    assert at_step(PHASES, step, 12) == wanted
    assert before(PHASES, 7, 12) == Rows(5 * 2 + 2 * 3, 5 * 2 + 2 * 3, 5 * 4 + 2 * 2)


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
