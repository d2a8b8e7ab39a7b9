import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import IsthmusError
from isthmus.language import ByteTokenizer, Tokenizer, resident
from isthmus.language.tokenizer import byte_characters, merged

HOSTILE = [
    "",
    " ",
    "\n",
    "a",
    "\r\n\r\n",
    "two  spaces, \t a tab \n\n\n and lines \r\n end \n",
    "It's 12345678 o'clock, they'd've said--didn't they'LL?",
    "naïve café coöperation Ænid ÞÐ ß ﬁ",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 \u200b\u00a0\u2028\u3000x",
    "שלום עולם مرحبا \u202eabc\u202c 日本語のテキスト हिन्दी",
    "<|bos|",
    "<script>alert('x')</script>&amp;\x00\x01\x7f\x85",
    "a" * 5000,
    "ab" * 3000 + "!" * 2000 + " " * 999 + "\n" * 998,
    "".join(map(chr, range(0x250))),
    "".join(map(chr, range(0x2000, 0x2070))) + "".join(map(chr, range(0x2FF0, 0x3010))),
    "\U0001f600\U0010ffff\ue000\ufffd",
]


@pytest.fixture(scope="module")
def ours():
    return resident().tokenizer


@pytest.fixture(scope="module")
def theirs():
    """The same file read by the library that made it."""
    tokenizers = pytest.importorskip("tokenizers")
    from importlib.resources import files

    path = files("isthmus.language") / "resident" / "tokenizer.json"
    return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_hostile_text_becomes_the_tokens_of_the_library(ours, theirs, text):
    assert ours.encode(text) == theirs.encode(text).ids
    assert ours.decode(ours.encode(text)) == text


def test_all_characters_one_by_one(ours, theirs):
    for first in range(0, 0x11000, 256):
        text = "x".join(chr(c) for c in range(first, first + 256) if not 0xD800 <= c < 0xE000)
        assert ours.encode(text) == theirs.encode(text).ids, hex(first)


@given(st.text(max_size=60))
def test_any_text_becomes_the_tokens_of_the_library_and_comes_back(ours, theirs, text):
    if "<|bos|>" not in text:
        assert ours.encode(text) == theirs.encode(text).ids
    assert ours.decode(ours.encode(text)) == text


def test_english_becomes_the_tokens_of_the_library(ours, theirs):
    words = ["whale", "Elizabeth", "didn't", "--", '"No,"', "42,000", "\n\n", "sea;", "Mr.", "of"]
    draw = random.Random(0)
    text = " ".join(draw.choices(words, k=5000))
    assert ours.encode(text) == theirs.encode(text).ids


def test_no_text_can_write_a_special_token(ours):
    tokens = ours.encode("a <|bos|> b")
    assert not ours.special & set(tokens)
    assert ours.decode(tokens) == "a <|bos|> b"


def test_special_tokens_are_no_text_but_show_their_name(ours):
    assert ours.decode([ours.bos, *ours.encode("Hello")]) == "Hello"
    assert ours.pieces([ours.bos])[0] == "<|bos|>"


def test_pieces_join_to_the_text(ours):
    text = "Call me Ishmael. Some years ago--never mind how long precisely"
    assert "".join(ours.pieces(ours.encode(text))) == text
    assert "\ufffd" in "".join(ours.pieces(ours.encode("\U0001f600")))


def test_lone_surrogates_are_replaced(ours):
    assert ours.decode(ours.encode("a\ud800b")) == "a?b"


def test_a_token_that_does_not_exist(ours):
    with pytest.raises(IsthmusError, match="no token 4096"):
        ours.decode([4096])
    with pytest.raises(IsthmusError, match="no token -1"):
        ours.pieces([-1])


def test_it_is_a_tokenizer(ours):
    assert isinstance(ours, Tokenizer)
    assert ours.vocabulary == 4096
    assert ours.special == {ours.bos}


def test_a_long_word_takes_no_long_time(ours):
    began = time.process_time()
    assert ours.decode(ours.encode("qwertyuiop" * 10_000)) == "qwertyuiop" * 10_000
    assert time.process_time() - began < 3


def by_scanning(tokens, merges):
    """The definition: again and again the best pair, the leftmost of equal ones."""
    tokens = list(tokens)
    while True:
        found = [
            (merges[pair][0], i)
            for i, pair in enumerate(itertools.pairwise(tokens))
            if pair in merges
        ]
        if not found:
            return tokens
        _, i = min(found)
        tokens[i : i + 2] = [merges[tokens[i], tokens[i + 1]][1]]


@given(
    st.lists(st.integers(0, 2), max_size=30),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8, unique=True),
)
def test_merging_is_its_definition(tokens, pairs):
    merges = {pair: (rank, 3 + rank) for rank, pair in enumerate(pairs)}
    assert merged(tokens, merges) == by_scanning(tokens, merges)


def test_bytes_have_distinct_printable_characters():
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert all(c.isprintable() for c in characters)
    assert characters[ord("A")] == "A"
    assert characters[ord(" ")] == "Ġ"


def test_a_file_that_is_no_tokenizer(tmp_path):
    for content in ("{}", "no JSON", '{"model": {"type": "WordPiece"}}'):
        path = tmp_path / "tokenizer.json"
        path.write_text(content)
        with pytest.raises(IsthmusError, match="no byte-level BPE"):
            ByteTokenizer.read(path)
    with pytest.raises(IsthmusError, match="no byte-level BPE"):
        ByteTokenizer.read(tmp_path / "absent.json")
