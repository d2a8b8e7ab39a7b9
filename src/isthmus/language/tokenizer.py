"""Byte-level byte-pair encoding (Sennrich, Haddow and Birch 2016; bytes after Radford et al. 2019).

Reads the JSON files of the ``tokenizers`` library and gives the same tokens, in plain Python.
"""

import json
import re
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError

REMEMBERED = 1 << 17
"""Words whose tokens are kept; then the memory starts afresh."""


class ByteTokenizer:
    """Text to token numbers and back, without loss.

    ``vocabulary`` maps tokens, written in the printable stand-ins for bytes, to numbers;
    ``merges`` are the pairs in order of rank; ``pattern`` cuts a text into words, within which
    merges stay; ``special`` maps names to numbers. Names of special tokens in a text are text:
    no document can inject one.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: Sequence[tuple[str, str]],
        pattern: str,
        special: dict[str, int],
        bos: int | None,
    ) -> None:
        self.vocabulary = max([*vocabulary.values(), *special.values()]) + 1
        self.bos = bos
        self.special = frozenset(special.values())
        to_byte = {character: byte for byte, character in enumerate(byte_characters())}
        self._bytes = [b""] * self.vocabulary
        for token, number in vocabulary.items():
            if number not in self.special:
                self._bytes[number] = bytes(to_byte[character] for character in token)
        self._names = {number: name for name, number in special.items()}
        self._byte_tokens = [vocabulary[character] for character in byte_characters()]
        self._merges = {
            (vocabulary[a], vocabulary[b]): (rank, vocabulary[a + b])
            for rank, (a, b) in enumerate(merges)
        }
        self._cut = re.compile(pattern).findall
        self._known: dict[str, tuple[int, ...]] = {}

    @classmethod
    def read(cls, path: Path) -> "ByteTokenizer":
        """From a ``tokenizer.json`` whose pre-tokenizer is a Split by a pattern, then ByteLevel.

        Added special tokens are special; the one named ``<|bos|>`` begins a document.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            model = content["model"]
            split, bytewise = content["pre_tokenizer"]["pretokenizers"]
            if (model["type"], split["type"], bytewise["type"]) != ("BPE", "Split", "ByteLevel"):
                raise KeyError("type")
            merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
            special = {t["content"]: t["id"] for t in content["added_tokens"] if t["special"]}
            pattern = split["pattern"]["Regex"]
            return cls(model["vocab"], merges, pattern, special, special.get("<|bos|>"))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise IsthmusError(
                f"{str(path)!r} is no byte-level BPE with a Split by a pattern: give the "
                "tokenizer.json of the resident model or one trained by tools/train_tokenizer.py"
            ) from error

    def encode(self, text: str) -> list[int]:
        """Token numbers of the text; no special token is added."""
        known = self._known
        tokens: list[int] = []
        extend = tokens.extend
        for word in self._cut(text):
            word_tokens = known.get(word)
            if word_tokens is None:
                word_tokens = self._word(word)
            extend(word_tokens)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The text; special tokens stand for none, bytes that are no character show as U+FFFD."""
        return b"".join(map(self._of, tokens)).decode("utf-8", "replace")

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token by itself; special tokens show their names."""
        return [self._names.get(int(t)) or self._of(t).decode("utf-8", "replace") for t in tokens]

    def _of(self, token: int) -> bytes:
        if not 0 <= token < self.vocabulary:
            raise IsthmusError(
                f"there is no token {token}: the vocabulary has {self.vocabulary} tokens"
            )
        return self._bytes[token]

    def _word(self, word: str) -> tuple[int, ...]:
        raw = word.encode("utf-8", "replace")
        tokens = tuple(merged((self._byte_tokens[byte] for byte in raw), self._merges))
        if len(word) <= 64:  # long words hardly come again
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[word] = tokens
        return tokens


def merged(tokens: Iterable[int], merges: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    """Join neighbours by their merges, the lowest rank first, of equal ones the leftmost.

    ``merges`` maps a pair to ``(rank, joined token)``. Takes O(n log n) for n tokens, so that a
    word of a million letters is no trap.
    """
    values = list(tokens)
    after = list(range(1, len(values) + 1))
    before = list(range(-1, len(values) - 1))
    waiting = [
        (merge[0], i, merge[1])
        for i, pair in enumerate(pairwise(values))
        if (merge := merges.get(pair))
    ]
    heapify(waiting)
    while waiting:
        rank, i, joined = heappop(waiting)
        j = after[i]
        # what waits may be out of date: one of the two was joined with another meanwhile
        if j == len(values) or merges.get((values[i], values[j])) != (rank, joined):
            continue
        values[i], values[j] = joined, -1
        after[i] = after[j]
        if after[j] < len(values):
            before[after[j]] = i
        for left, right in ((before[i], i), (i, after[i])):
            if left >= 0 and right < len(values):
                merge = merges.get((values[left], values[right]))
                if merge:
                    heappush(waiting, (merge[0], left, merge[1]))
    return [value for value in values if value >= 0]


def byte_characters() -> list[str]:
    """The printable character that stands for each of the 256 bytes (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(b) if b in set(printable) else chr(next(others)) for b in range(256)]
