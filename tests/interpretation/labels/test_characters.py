"""Features of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.interpretation.labels.characters import CLASSES, KINDS, features_of, folded, joins


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
