"""Features of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.interpretation.labels.text import (
    CLASSES,
    CONTEXTS,
    KINDS,
    SLOTS,
    Reading,
    features_of,
    folded,
    joins,
)


def classes(text):
    return {value for kind, value in features_of(text) if kind == "class"}


def test_features_of_a_word():
    assert {f for f in features_of(" Kings") if f[0] != "class"} == {
        ("is", " Kings"), ("word", "kings"),
        ("suffix", "s"), ("suffix", "gs"), ("suffix", "ngs"), ("suffix", "ings"),
        ("prefix", "ki"), ("prefix", "kin"), ("prefix", "king"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Kings", {"spaced", "capitalised"}),
        ("KING", {"unspaced", "capitals"}),
        (" I", {"spaced", "one letter", "capitalised", "pronoun"}),
        ("walking", {"unspaced", "lower-case"}),
        (" remember", {"spaced", "lower-case", "long"}),
        (" of", {"spaced", "lower-case", "short", "preposition"}),
        ("1984", {"unspaced", "digits"}),
        (".", {"unspaced", "punctuation", "sentence end"}),
        (" “", {"spaced", "punctuation", "quotation mark", "not ASCII"}),
        ("\n", {"spaced", "white space", "line break"}),
        ("—", {"unspaced", "punctuation", "dash", "not ASCII"}),
        (" not", {"spaced", "lower-case", "short", "negation"}),
        ("", set()),
    ],
)
def test_classes(text, expected):
    assert classes(text) == expected


@given(st.text(max_size=12))
def test_every_feature_is_true_of_the_text(text):
    bare = folded(text)
    for kind, value in features_of(text):
        assert kind in KINDS
        if kind == "class":
            assert value in CLASSES
        elif kind == "is":
            assert value == text
        elif kind == "word":
            assert value == bare
        else:
            end = bare.endswith if kind == "suffix" else bare.startswith
            assert end(value)
            assert value != bare


@pytest.mark.parametrize(
    ("before", "text", "expected"),
    [
        (" str", "ange", True), (" str", " ange", False), (".", "ange", False),
        (" dog", "'s", True), (" dog", "'", False), (" dog", "' s", False), ("", "a", False),
        ("a", "", False), (" 19", "84", True),
    ],
)  # fmt: skip
def test_pieces_that_go_on_with_a_word(before, text, expected):
    assert joins(before, text) is expected


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
