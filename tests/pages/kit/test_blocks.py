"""Blocks of data: nothing in them can leave them, and they come back as they were put in."""

import base64
import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.pages.kit import blocks

ANY = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=8,
)
FRAME = re.compile(r'<script type="application/json" id="x">(.*)</script>\n', re.S)


@given(ANY)
def test_a_block_holds_its_value_and_no_character_that_markup_knows(value):
    inside = FRAME.fullmatch(blocks.block("x", value))[1]
    assert json.loads(inside) == value
    assert inside.isascii()
    assert not set(inside) & set("<>&")


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", "<!--<script>", "\u2028\u2029", "\ud800", "]]>"]
)
def test_what_could_end_a_block_is_escaped(text):
    inside = FRAME.fullmatch(blocks.block("x", [text]))[1]
    assert json.loads(inside) == [text]
    assert "<" not in inside
    assert inside.isascii()


@given(ANY, st.binary())
def test_a_packed_block_comes_back(value, binary):
    content = gzip.decompress(base64.b64decode(blocks.packed(value, binary)))
    length = int.from_bytes(content[:4], "little")
    assert json.loads(content[4 : 4 + length]) == value
    assert content[4 + length :] == binary


def test_packing_is_the_same_every_time():
    assert blocks.packed({"a": 1}) == blocks.packed({"a": 1})


def test_arrays_and_numbers():
    held = blocks.array(np.array([1.5, np.nan], np.float64))
    assert held["dtype"] == "f4"
    read = np.frombuffer(base64.b64decode(held["data"]), "<f4")
    assert np.array_equal(read, [1.5, np.nan], equal_nan=True)
    assert blocks.array(np.array([3, -1]))["dtype"] == "i4"
    assert blocks.short([1.23456, float("inf"), float("nan")], 3) == [1.23, None, None]
    assert blocks.number(None) is None


def test_binary_parts_lie_at_multiples_of_four():
    binary = blocks.Binary()
    places = [binary.add(np.arange(n, dtype=np.uint8)) for n in (3, 5, 4)]
    content = binary.bytes()
    assert [start % 4 for start, _ in places] == [0, 0, 0]
    for (start, length), n in zip(places, (3, 5, 4), strict=True):
        assert content[start : start + length] == bytes(range(n))
