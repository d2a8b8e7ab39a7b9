"""Walks of a machine: their states follow each other, and their text is their states."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chisquare

from isthmus.data.made.state_machines import BEGIN, Machine


def test_every_state_has_so_many_others_after_it():
    machine = Machine(100, 10, seed=1)
    assert machine.following.shape == (100, 10)
    assert all(len(set(row)) == 10 for row in machine.following.tolist())
    assert not np.array_equal(machine.following, Machine(100, 10, seed=2).following)


def test_walks_follow_edges_all_alike():
    machine = Machine(12, 4)
    walks = machine.walks(500, 30, np.random.default_rng(0))
    counts = np.zeros((12, 12))
    for row in walks:
        for before, after in pairwise(row):
            assert after in machine.following[before]
            counts[before, after] += 1
    for state in range(12):
        assert chisquare(counts[state, machine.following[state]]).pvalue > 1e-4
    assert chisquare(np.bincount(walks[:, 0], minlength=12)).pvalue > 1e-4


@pytest.mark.parametrize(("states", "digits"), [(5, 1), (10, 1), (30, 2), (100, 2), (101, 3)])
def test_the_text_is_the_states_in_decimal_digits(states, digits):
    machine = Machine(states, 3)
    walks = machine.walks(20, 7, np.random.default_rng(1))
    tokens = machine.tokens(walks)
    assert machine.digits == digits
    assert (tokens[:, 0] == BEGIN).all()
    assert tokens.max() < machine.vocabulary
    for row, states_of_row in zip(tokens, walks, strict=True):
        text = "".join(str(token - 1) for token in row[1:])
        assert text == "".join(f"{state:0{digits}d}" for state in states_of_row)
    assert machine.ends(7).tolist() == [digits * (i + 1) for i in range(7)]


def test_what_may_follow_is_what_the_table_says():
    machine = Machine(30, 5)
    states = np.arange(30).repeat(40)
    others = np.tile(np.arange(40), 30)
    allowed = machine.allows(states, others)
    for state, other, said in zip(states, others, allowed, strict=True):
        assert said == (other in machine.following[state].tolist())
    assert allowed.sum() == 150


def test_more_edges_than_states_is_an_error():
    with pytest.raises(ValueError, match="from 1 to 4"):
        Machine(4, 5)
