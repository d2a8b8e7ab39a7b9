"""What language models are asked, and what is read from their answers."""

import numpy as np
import pytest

from isthmus.interpretation.labels import prompts
from isthmus.interpretation.labels.prompts import marked, read_explanation, read_judgements


def at(*places):
    return np.array(places, dtype=np.int64)


def test_runs_of_tokens_stand_between_marks():
    tokens = [" the", " k", "ing", "\n", " of"]
    assert marked(tokens, at(1, 2, 4)) == " the<< king>>\\n<< of>>"
    assert marked(tokens, at()) == " the king\\n of"


def test_text_cannot_pass_for_marks():
    assert marked(["<<", "a", ">>", "\r\n"], at(1)) == "‹‹<<a>>››\\r\\n"


def test_activations_are_scaled_to_ten():
    texts = [
        ([" a", " b", " c"], np.array([0.0, 5.0, 0.01])),
        ([" d", '"'], np.array([-2.0, 0.0])),
    ]
    asked = prompts.explanation_prompt(texts)
    assert asked.user == (
        'Text 1:  a<< b c>>\nActivations: (" b", 10), (" c", 1)\n\n'
        'Text 2: << d>>"\nActivations: (" d", 4)'
    )
    again = prompts.explanation_prompt(texts, attempt=1)
    assert again.user.startswith(asked.user)
    assert again.user != asked.user


def test_a_judge_sees_marks_only_for_fuzzing():
    texts = [[" a", " b"], [" c"]]
    plain = prompts.judgement_prompt("letters", texts, None)
    assert plain.user == "Explanation: letters\n\nText 1:  a b\nText 2:  c"
    fuzzed = prompts.judgement_prompt("letters", texts, [at(1), at(0)], attempt=2)
    assert "Text 1:  a<< b>>\nText 2: << c>>" in fuzzed.user
    assert "list of 2 numbers" in fuzzed.user
    assert plain.system != fuzzed.system


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[EXPLANATION]: words for rulers", "words for rulers"),
        ("Let me see.\nMany kings.\n[EXPLANATION]: kings.\n", "kings."),
        ("**Explanation:** the word   “of”", "the word “of”"),
        ("[EXPLANATION]: a\n[EXPLANATION]: b", "b"),
        ("just one line", "just one line"),
        ("<think>[EXPLANATION]: no</think>\n[explanation] : yes", "yes"),
        ("two lines\nwithout the word", None),
        ("[EXPLANATION]:", None),
        ("<think> never ends", None),
        ("", None),
        ("...", None),
        ("[EXPLANATION]: " + "x" * 1000, "x" * 300),
    ],
)
def test_explanations_are_read(answer, expected):
    assert read_explanation(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[1, 0, 1]", [1, 0, 1]),
        ("The answer is:\n```json\n[1,0,1]\n```", [1, 0, 1]),
        ("First [0, 0, 0], but then [1, 0, 1].", [1, 0, 1]),
        ("1, 0, 1", [1, 0, 1]),
        ("1 0 1\n", [1, 0, 1]),
        ("Text 1: 1\nText 2: 0\nText 3: 1", [1, 0, 1]),
        ("1. Yes\n2. no\n3. YES.", [1, 0, 1]),
        ("<think>[0, 0, 0]</think>[1, 0, 1]", [1, 0, 1]),
        ("[1, 0]", None),
        ("[1, 0, 1, 1]", None),
        ("[1, 2, 1]", None),
        ("[yes, no, yes]", None),
        ("1, 0", None),
        ("Texts 1 and 3", None),
        ("I cannot say", None),
        ("", None),
    ],
)
def test_judgements_are_read(answer, expected):
    assert read_judgements(answer, 3) == expected
