import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import IsthmusError
from isthmus.language import Document, pack


class Letters:
    """Each letter a token, ``a`` is 1; 0 begins a document."""

    vocabulary, bos, special = 27, 0, frozenset({0})

    def encode(self, text):
        return [ord(letter) - 96 for letter in text]

    def decode(self, tokens):
        return "".join(chr(t + 96) for t in tokens if t)

    def pieces(self, tokens):
        return [chr(t + 96) for t in tokens]


DOCUMENTS = [Document("one", "abcdefg"), Document("none", ""), Document("two", "xyz")]


def test_rows_begin_with_bos_and_are_padded_on_the_right():
    tokens = pack(DOCUMENTS, Letters(), context=5)
    assert tokens.ids.tolist() == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 0], [0, 24, 25, 26, 0]]
    assert tokens.mask.tolist() == [[True] * 5, [True] * 4 + [False], [True] * 4 + [False]]
    assert tokens.document.tolist() == [0, 0, 2]
    assert tokens.start.tolist() == [0, 4, 0]
    assert tokens.names == ["one", "none", "two"]
    assert tokens.ids.dtype == tokens.document.dtype == tokens.start.dtype == torch.int64
    assert tokens.mask.dtype == torch.bool


def test_without_bos():
    tokens = pack(DOCUMENTS, Letters(), context=5, bos=False)
    assert tokens.ids.tolist() == [[1, 2, 3, 4, 5], [6, 7, 0, 0, 0], [24, 25, 26, 0, 0]]
    assert tokens.start.tolist() == [0, 5, 0]


def test_some_rows():
    tokens = pack(DOCUMENTS, Letters(), context=5).rows(torch.tensor([2]))
    assert len(tokens) == 1
    assert tokens.document.tolist() == [2]
    assert tokens.names == ["one", "none", "two"]


@settings(max_examples=40)
@given(
    st.lists(st.text("abcxyz", max_size=40), min_size=1, max_size=6),
    st.integers(2, 12),
    st.booleans(),
)
def test_every_token_is_there_once_and_where_it_is_said_to_be(texts, context, bos):
    if not any(texts):
        return
    tokens = pack([Document(str(i), t) for i, t in enumerate(texts)], Letters(), context, bos=bos)
    seen = [list(" " * len(text)) for text in texts]
    for ids, mask, which, start in zip(
        tokens.ids, tokens.mask, tokens.document, tokens.start, strict=True
    ):
        row = ids[mask].tolist()[int(bos) :]
        for i, letter in enumerate(Letters().pieces(row)):
            assert seen[which][start + i] == " "
            seen[which][start + i] = letter
    assert ["".join(letters) for letters in seen] == texts


@settings(max_examples=40)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 120))
def test_a_limit_is_kept_and_nearly_reached(sizes, limit):
    if not any(sizes):
        return
    texts = [Document(str(i), "a" * n) for i, n in enumerate(sizes)]
    tokens = pack(texts, Letters(), 6, limit)
    got = int(tokens.mask[:, 1:].sum())
    assert 0 < got <= min(limit, sum(sizes))
    if all(n % 5 == 0 for n in sizes):  # equal rows: the limit is reached but for one row
        assert got > min(limit, sum(sizes)) - 5


def test_a_limit_spreads_over_all_documents():
    texts = [Document(str(i), "a" * 50) for i in range(10)]
    tokens = pack(texts, Letters(), 6, 50)
    assert tokens.document.tolist() == list(range(10))


def test_what_does_not_fit_is_refused():
    with pytest.raises(IsthmusError, match="no text"):
        pack([Document("a", "")], Letters())
    with pytest.raises(IsthmusError, match="no text"):
        pack([], Letters())
    with pytest.raises(IsthmusError, match="context=1 leaves no room"):
        pack(DOCUMENTS, Letters(), context=1)
    with pytest.raises(IsthmusError, match="limit=0"):
        pack(DOCUMENTS, Letters(), limit=0)
