"""Rules as sentences and as judges."""

import itertools
import json

import pytest

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels import Literal, Rule

from .made import language


def token(*values, kind="is", negated=False):
    return Literal("token", kind, values, negated)


def before(*values, kind="is", negated=False):
    return Literal("before", kind, values, negated)


def test_a_rule_needs_all_of_a_clause_and_any_clause():
    rule = Rule(((token(" king"), before(" the")), (token("king", kind="suffix"),)))
    tokens = [" a", " king", " the", " king", " walking"]
    assert [rule.fires(tokens, place) for place in range(5)] == [False, False, False, True, True]


def test_denial_holds_where_the_text_is_missing():
    rule = Rule(((before(" the", negated=True),),))
    assert [rule.fires([" the", " king"], place) for place in (0, 1)] == [True, False]


def test_nearby_words_and_contexts():
    near = Rule(((token(" king"), Literal("nearby", "word", ("ship",))),))
    tokens = [" ship", *[" a"] * 7, " king", " king"]
    assert near.fires(tokens, 8)
    assert not near.fires(tokens, 9)
    start = Rule(((Literal("context", "context", ("row start",)),),))
    assert [start.fires([" a"], 0, begin) for begin in (1, 2)] == [True, False]


@pytest.mark.parametrize(
    ("clauses", "sentence"),
    [
        (((token(" king"),),), "“ king”"),
        (((before(" the"), token("king", "queen", kind="word")),),
         "“king” or “queen” in any case, right after “ the”"),
        (((before("preposition", kind="class", negated=True),),),
         "a token not right after a preposition"),
        (((token("-", ">", kind="word"),),), "“-” or “>”"),
        (((token("\n"),), (token("ing", "ed", "s", kind="suffix"),)),
         "“\\n”; or text that ends in “ing”, “ed” or “s”"),
        (((Literal("context", "context", ("quoted",)),),), "a token inside quotation marks"),
        (((token(" x"), Literal("nearby", "word", ("ship",))),),
         "“ x”, with “ship” among the 8 tokens before"),
        (((Literal("last word", "prefix", ("un",)),),),
         "a token after a word that begins with “un”"),
        (((Literal("word", "word", ("alw",)),), (Literal("last word", "class", ("pronoun",)),)),
         "a token where the word so far is “alw”; or a token after a word that is a pronoun"),
        (((token("a", kind="word"), Literal("context", "context", ("line start",), True)),),
         "“a” in any case, not at the beginning of a line"),
        ((), "nothing that can be said of the text"),
    ],
)  # fmt: skip
def test_sentences(clauses, sentence):
    assert Rule(clauses).sentence() == sentence


def test_clauses_that_differ_in_one_value_are_put_together():
    rule = Rule(
        (
            (token(" a"), before(" the")), (before(" the"), token(" b")), (token(" c"),),
            (token(" c"),), (token(" d", negated=True), before(" x")),
            (token(" e", negated=True), before(" x")),
        )
    )  # fmt: skip
    merged = rule.merged()
    assert merged.clauses[:2] == ((token(" a", " b"), before(" the")), (token(" c"),))
    # Two denials say less together than each by itself, so they stay apart.
    assert len(merged.clauses) == 4
    for two in itertools.product([" a", " b", " c", " d", " e", " the", " x"], repeat=2):
        assert rule.fires(two, 1) == merged.fires(two, 1)


def test_a_rule_survives_json():
    rule = Rule(((token(" a", " ü"), before("the", kind="word", negated=True)),))
    again = Rule.from_dict(json.loads(json.dumps(rule.to_dict())))
    assert again == rule
    row = language(1, 60)[0]
    assert [again.fires(row, p) for p in range(60)] == [rule.fires(row, p) for p in range(60)]


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        (("tokn", "is", ("x",)), "did you mean 'token'"),
        (("token", "sufix", ("x",)), "did you mean 'suffix'"),
        (("nearby", "suffix", ("x",)), "in the slot 'nearby'"),
        (("context", "context", ("quotd",)), "did you mean 'quoted'"),
        (("token", "class", ("determner",)), "did you mean 'determiner'"),
    ],
)
def test_misspelt_literals(literal, message):
    with pytest.raises(IsthmusError, match=message):
        Literal(*literal)


def test_what_is_no_rule():
    with pytest.raises(IsthmusError, match="no rule"):
        Rule.from_dict([[{"slot": "token"}]])
