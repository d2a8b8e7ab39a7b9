"""What a rule reads at one place of a window."""

import pytest

from isthmus.interpretation.labels.reading import CONTEXTS, SLOTS, Reading


def test_texts_around_a_place():
    tokens = [" The", " str", "ange", ",", " k", "ing"]
    reading = Reading(tokens, 5)
    assert reading.texts == {
        "token": "ing", "before": " k", "before that": ",", "word": " king",
        "last word": " strange",
    }  # fmt: skip
    assert set(reading.texts) == set(SLOTS)
    assert reading.near == {"the", "str", "ange", "k"}


def test_nothing_stands_before_a_window():
    reading = Reading([" king"], 0)
    assert reading.texts["before"] == reading.texts["last word"] == ""
    assert reading.near == frozenset()


@pytest.mark.parametrize(
    ("tokens", "place", "begin", "expected"),
    [
        ([" a"], 0, 1, {"row start", "row head"}),
        ([" a", " b"], 1, 4, {"row head"}),
        ([" a", " b"], 1, 5, set()),
        (['"', " hello"], 1, 9, {"quoted"}),
        (['"', " hello", '"', " he"], 3, 9, set()),
        ([" “", "yes"], 1, 9, {"quoted"}),
        ([" “", "yes", "”", " he"], 3, 9, set()),
        ([" (", "yes"], 1, 9, {"bracketed"}),
        ([" (", "yes", ")", " he"], 3, 9, set()),
        ([" end", ".", " He"], 2, 9, {"sentence start"}),
        ([" end", ".", " He", " ran"], 3, 9, set()),
        ([" end", ".", '"'], 2, 9, set()),
        ([" end", "\n", " He"], 2, 9, {"sentence start", "line start"}),
        ([" 19", " a", " b", " c"], 3, 9, {"near a number"}),
        ([" 19", " a", " b", " c", " d"], 4, 9, set()),
        ([" King", ",", " king"], 2, 9, {"repeated"}),
        ([" x", " y", " z", " X", " y"], 4, 9, {"repeated", "repeated pair"}),
        ([",", " a", ","], 2, 9, set()),
    ],
)
def test_contexts(tokens, place, begin, expected):
    assert Reading(tokens, place, begin).contexts == expected
    assert expected <= set(CONTEXTS)


def test_what_follows_a_place_is_not_read():
    one, other = ([" a", " b", *rest] for rest in ([" c"], ['"', ".", " a"]))
    a, b = Reading(one, 1), Reading(other, 1)
    assert (a.texts, a.contexts, a.near) == (b.texts, b.contexts, b.near)


@pytest.mark.parametrize("place", [-1, 2])
def test_a_place_outside_the_window(place):
    with pytest.raises(IndexError, match="window of 2 tokens"):
        Reading([" a", " b"], place)
