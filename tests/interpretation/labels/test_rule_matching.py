"""Rules on many tokens at once are the same as one by one."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.interpretation.labels.rule_matching import Lexicon, matcher_of
from isthmus.interpretation.labels.rules import Literal, Rule
from isthmus.interpretation.labels.text import CLASSES, CONTEXTS, KINDS, SLOTS, Reading, features_of
from isthmus.interpretation.labels.windows import Windows

PIECES = [
    " the", " The", " king", "king", "ing", "s", "'s", ".", "!", ",", "\n", '"', "“", "”", "(", ")",
    " 19", "84", " of", " not", " I", "—", "  ", "ü", "",
]  # fmt: skip
WINDOW = st.lists(st.sampled_from(PIECES), min_size=1, max_size=24)


def windows(texts, begins=None):
    vocabulary = sorted({t for text in texts for t in text})
    number = {t: i for i, t in enumerate(vocabulary)}
    n = len(texts)
    return Windows(
        vocabulary=vocabulary,
        token=np.array([number[t] for text in texts for t in text], dtype=np.int32),
        value=np.zeros(sum(map(len, texts)), dtype=np.float32),
        start=np.cumsum([0, *map(len, texts)]),
        latent=np.zeros(n, dtype=np.int64),
        group=np.zeros(n, dtype=np.int64),
        row=np.arange(n),
        begin=np.array(begins if begins is not None else [9] * n),
        split=np.zeros(n, dtype=np.int64),
        fired=[None] * n,
    )


@st.composite
def literals(draw):
    slot = draw(st.sampled_from([*SLOTS, "nearby", "context"]))
    if slot == "context":
        kind, pool = "context", sorted(CONTEXTS)
    elif slot == "nearby":
        kind, pool = "word", ["the", "king", "s", "19", "never seen"]
    else:
        kind = draw(st.sampled_from(KINDS))
        of_kind = {
            v for p in [*PIECES, " kings", "kinging"] for k, v in features_of(p) if k == kind
        }
        pool = sorted(of_kind | (set(CLASSES) if kind == "class" else {"never seen"}))
    values = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True))
    return Literal(slot, kind, tuple(values), draw(st.booleans()))


RULES = st.lists(st.lists(literals(), min_size=1, max_size=3).map(tuple), max_size=3)


@settings(max_examples=50)
@given(texts=st.lists(WINDOW, min_size=1, max_size=4), clauses=RULES, data=st.data())
def test_the_same_as_place_by_place(texts, clauses, data):
    begins = [data.draw(st.integers(0, 8)) for _ in texts]
    found = windows(texts, begins)
    rule = Rule(tuple(clauses))
    asked = np.array(data.draw(st.permutations(range(len(texts)))))
    at, starts = found.places(asked)
    fires = matcher_of(found).fires(rule, at)
    expected = [
        rule.fires(texts[w], place, begins[w]) for w in asked for place in range(len(texts[w]))
    ]
    assert fires.tolist() == expected
    assert starts.tolist() == np.cumsum([0, *[len(texts[w]) for w in asked]])[:-1].tolist()


@settings(max_examples=40)
@given(st.lists(WINDOW, min_size=1, max_size=4))
def test_all_that_can_be_asked_is_what_a_reading_says(texts):
    found = windows(texts)
    matcher = matcher_of(found)
    table = [*matcher.lexicon_texts, ""]
    for w, text in enumerate(texts):
        for place in range(len(text)):
            at = found.start[w] + place
            reading = Reading(text, place, 9)
            assert {s: table[matcher.texts[s][at]] for s in SLOTS} == reading.texts
            bits = {name for i, name in enumerate(CONTEXTS) if matcher.context[at] >> i & 1}
            assert bits == reading.contexts


def test_a_lexicon_knows_the_features_of_its_texts():
    texts = [" king", "", "Walking", "."]
    lexicon = Lexicon(texts)
    numbers = np.array([2, 0, 4, 1, 2])
    wanted = np.array([lexicon.number["suffix", "ing"], lexicon.number["class", "spaced"]])
    assert lexicon.columns(numbers, wanted).tolist() == [
        [True, False], [True, True], [False, False], [False, False], [True, False],
    ]  # fmt: skip
    found, owner = lexicon.of(numbers)
    for i, number in enumerate(numbers):
        text = [*texts, ""][number]
        assert {lexicon.features[f] for f in found[owner == i]} == features_of(text)


def test_a_window_of_one_endless_word():
    """Pieces that all go on with one word: the word grows, and nothing else happens."""
    found = windows([["a"] * 200])
    assert matcher_of(found).lexicon_texts[matcher_of(found).texts["word"][-1]] == "a" * 200


@pytest.mark.parametrize("size", [0, 3])
def test_places_of_no_window(size):
    found = windows([[" a"]] * max(1, size))
    at, starts = found.places(np.zeros(0, dtype=np.int64))
    assert len(at) == len(starts) == 0
    assert len(matcher_of(found).fires(Rule(((Literal("token", "is", (" a",)),),)), at)) == 0


def test_a_matcher_lives_as_long_as_its_windows():
    found = windows([[" a", "b"]])
    matcher = matcher_of(found)
    assert matcher_of(found) is matcher
    gone = weakref.ref(matcher)
    del found, matcher
    gc.collect()
    assert gone() is None
