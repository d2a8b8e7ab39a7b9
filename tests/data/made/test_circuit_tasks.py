"""Prompts of the small tasks, and the right and wrong answers, read by words."""

import numpy as np
import pytest
import torch

from isthmus.data.made.circuit_tasks import UNTAUGHT, circuit_task
from isthmus.errors import IsthmusError

TASKS = ("induction", "greater-than", "copy-name")


def drawn(name, count=60, seed=0):
    task = circuit_task(name)
    prompts = task.prompts(count, np.random.default_rng(seed))
    words = task.words.words
    texts, twins = (
        [[words[i] for i in row] for row in part.tolist()]
        for part in (prompts.tokens, prompts.corrupted)
    )
    answers = [
        [{words[i] for i in row.nonzero().flatten().tolist()} for row in part]
        for part in (prompts.right, prompts.wrong)
    ]
    return texts, twins, *answers


def test_what_followed_before_is_right_and_the_twin_has_seen_nothing():
    for text, twin, right, wrong in zip(*drawn("induction"), strict=True):
        string = text[1:-1]
        assert len(set(string)) == len(string)
        assert right == {string[string.index(text[-1]) + 1]}
        assert len(wrong) == 15
        assert not right & wrong
        assert twin[:-1] == text[:-1]
        assert twin[-1] not in string


def test_later_years_are_right_and_the_first_year_is_the_twins():
    years = [f"year-{i:02d}" for i in range(20)]
    for text, twin, right, wrong in zip(*drawn("greater-than"), strict=True):
        at = years.index(text[4])
        assert at > 0
        assert right == set(years[at + 1 :])
        assert wrong == set(years[: at + 1])
        assert twin[4] == years[0]
        assert [a for i, a in enumerate(twin) if i != 4] == [
            a for i, a in enumerate(text) if i != 4
        ]


def test_the_name_that_is_there_once_is_right():
    first = set()
    for text, twin, right, wrong in zip(*drawn("copy-name"), strict=True):
        assert wrong == {text[7]}
        assert right == {text[1], text[3]} - wrong
        assert len(right) == 1
        assert twin[7] not in text
        first.add(text[1] in right)
    assert first == {True, False}


@pytest.mark.parametrize("name", TASKS)
def test_lessons_teach_right_words_only(name):
    task = circuit_task(name)
    tokens, following = task.lesson(40, np.random.default_rng(1))
    assert tokens.shape == following.shape
    assert (following != UNTAUGHT).any(1).all()
    if name != "induction":
        assert (following[:, :-1] == UNTAUGHT).all()
        return
    for row, target in zip(tokens.tolist(), following.tolist(), strict=True):
        for place, word in enumerate(target):
            if word != UNTAUGHT:
                assert word == row[row.index(row[place]) + 1]


def test_lessons_are_the_same_from_the_same_draws_and_unknown_tasks_are_named():
    for name in TASKS:
        rows = [circuit_task(name).lesson(5, np.random.default_rng(3)) for _ in range(2)]
        assert all(torch.equal(a, b) for a, b in zip(*rows, strict=True))
    with pytest.raises(IsthmusError, match="greater-than"):
        circuit_task("greater-then")
