"""What rules can ask, for all tokens of many windows at once.

The definitions are those of :class:`~isthmus.interpretation.labels.text.Reading`, computed on
flat arrays; a test holds the two together.
"""

from collections.abc import Sequence
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np

from isthmus.interpretation.labels.rules import CONTEXT, NEARBY, Literal, Rule
from isthmus.interpretation.labels.text import (
    CLOSING,
    CONTEXTS,
    ENDS,
    KINDS,
    NEAR,
    OPENING,
    Feature,
    features_of,
    folded,
    has_letters,
    joins,
)
from isthmus.interpretation.labels.windows import Windows

CONTEXT_NAMES = tuple(CONTEXTS)


class Lexicon:
    """The features of ``V`` texts: features are numbered, and each text has the list of its own.

    The number ``V`` itself stands for a text that is missing and has no features.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.number: dict[Feature, int] = {}
        numbers: list[int] = []
        lengths = [0]
        give = self.number.setdefault
        for text in texts:
            # Sorted, because the order of a set of strings differs from process to process.
            features = sorted(features_of(text))
            numbers += [give(feature, len(self.number)) for feature in features]
            lengths.append(len(numbers))
        self.features: list[Feature] = list(self.number)
        self.indices = np.asarray(numbers, dtype=np.int32)
        self.first = np.asarray([*lengths, lengths[-1]], dtype=np.int64)
        self.kind = np.array([KINDS.index(kind) for kind, _ in self.features], dtype=np.int8)
        owner = np.repeat(np.arange(len(lengths), dtype=np.int32), np.diff(self.first))
        order = np.argsort(self.indices, kind="stable")
        self._holders = owner[order]
        ends = np.searchsorted(self.indices[order], np.arange(len(self.features) + 1))
        self._holders_first = ends.astype(np.int64)
        # Scratch space of the two methods below; both leave it as it was.
        self._column = np.full(len(self.features), -1, dtype=np.int32)
        self._flag = np.zeros(len(lengths), dtype=bool)

    def of(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features of some texts ``(t,)``, one after the other, and which of the t each is of."""
        begin, length = self.first[texts], self.first[texts + 1] - self.first[texts]
        owner = np.repeat(np.arange(len(texts)), length)
        ends = np.cumsum(length)
        at = np.arange(len(owner)) + np.repeat(begin - (ends - length), length)
        return self.indices[at], owner

    def any(self, texts: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Whether any of the features ``(c,)`` holds for each text ``(t,)``: bool ``(t,)``."""
        first, end = self._holders_first[features], self._holders_first[features + 1]
        holders = [self._holders[a:b] for a, b in zip(first, end, strict=True)]
        for some in holders:
            self._flag[some] = True
        holds = self._flag[texts]
        for some in holders:
            self._flag[some] = False
        return holds

    def columns(self, texts: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Whether each feature ``(c,)`` holds for each text ``(t,)``: bool ``(t, c)``."""
        distinct, back = np.unique(texts, return_inverse=True)
        numbers, owner = self.of(distinct)
        self._column[features] = np.arange(len(features))
        column = self._column[numbers]
        self._column[features] = -1
        table = np.zeros((len(distinct), len(features)), dtype=bool)
        mask = column >= 0
        table[owner[mask], column[mask]] = True
        return table[back]


class RuleMatcher:
    """``texts[slot]`` ``(T,)`` is the number in ``lexicon`` of the text in each slot at each token.

    ``context`` ``(T,)`` has bit ``i`` set where the i-th of :data:`CONTEXTS` holds, and ``near``
    ``(T,)`` is the number of each token without spaces and case, 0 where it has no letters.
    """

    def __init__(self, windows: Windows) -> None:
        token, start = windows.token.astype(np.int64), windows.start[:-1]
        size = len(token)
        self._window = np.repeat(np.arange(len(windows)), windows.length)
        self.place = np.arange(size) - np.repeat(start, windows.length)
        lettered = np.array([has_letters(t) for t in windows.vocabulary], dtype=bool)
        word, joined, texts = _words(windows, token, self.place)
        self.lexicon_texts = texts
        self.lexicon = Lexicon(texts)
        missing = len(texts)
        kind = np.int32
        self.texts = {
            "token": token.astype(kind),
            "before": self._earlier(token, 1, missing).astype(kind),
            "before that": self._earlier(token, 2, missing).astype(kind),
            "word": word.astype(kind),
            "last word": self._last_word(word, joined, lettered[token], missing).astype(kind),
        }
        numbers: dict[str, int] = {}
        same = np.array(
            [numbers.setdefault(folded(t), len(numbers) + 1) for t in windows.vocabulary] or [0],
            dtype=np.int64,
        )
        self.words = numbers
        self.word_names = list(numbers)
        self._same = same[token]
        self.near = np.where(lettered[token], self._same, 0).astype(kind)
        self.context = self._contexts(windows, token, lettered[token])

    def _earlier(self, values: np.ndarray, back: int, missing: int) -> np.ndarray:
        """The value ``back`` tokens earlier, ``missing`` before the window."""
        moved = np.full(len(values), missing, dtype=np.int64)
        moved[back:] = values[: len(values) - back]
        moved[self.place < back] = missing
        return moved

    def _last_word(
        self, word: np.ndarray, joined: np.ndarray, lettered: np.ndarray, missing: int
    ) -> np.ndarray:
        at = np.arange(len(word))
        # The last token that begins a word, then the last one with letters before that.
        begins = np.maximum.accumulate(np.where(joined, 0, at)) if len(at) else at
        last = np.maximum.accumulate(np.where(lettered, at, -1)) if len(at) else at
        source = np.concatenate([[-1], last[:-1]])[begins]
        inside = source >= at - self.place
        return np.where(inside, word[source], missing)

    def _contexts(self, windows: Windows, token: np.ndarray, lettered: np.ndarray) -> np.ndarray:
        vocabulary = windows.vocabulary
        at = np.repeat(windows.begin.astype(np.int64), windows.length) + self.place

        def per_token(values: list[int]) -> np.ndarray:
            return np.array(values or [0], dtype=np.int64)[token]

        straight = per_token([t.count('"') for t in vocabulary])
        curly = per_token([t.count("“") - t.count("”") for t in vocabulary])
        depth = per_token(
            [sum(c in OPENING for c in t) - sum(c in CLOSING for c in t) for t in vocabulary]
        )
        ends = per_token([bool(set(t) & (ENDS | {"\n"})) for t in vocabulary])
        breaks = per_token(["\n" in t for t in vocabulary])
        digits = per_token([any(c.isdigit() for c in t) for t in vocabulary])
        last_end = self._last(ends)
        last_letters = self._last(lettered)
        before = np.array([self._earlier(digits, n, 0) for n in (1, 2, 3)]).any(axis=0)
        previous = self._earlier(self._same, 1, 0)
        holds = {
            "row start": at < 2,
            "row head": at < 6,
            "quoted": (self._sum(straight) % 2 == 1) | (self._sum(curly) > 0),
            "bracketed": self._sum(depth) > 0,
            "sentence start": lettered & (last_end >= 0) & (last_letters <= last_end),
            "line start": self._earlier(breaks, 1, 0) > 0,
            "near a number": before,
            "repeated": lettered & ~self._new(self._same),
            "repeated pair": (self.place > 1) & ~self._new(_paired(previous, self._same)),
        }
        bits = np.zeros(len(token), dtype=np.uint16)
        for bit, name in enumerate(CONTEXT_NAMES):
            bits |= holds[name].astype(np.uint16) << np.uint16(bit)
        return bits

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """At each token the sum over the earlier ones of its window."""
        total = np.concatenate([[0], np.cumsum(values)])[:-1]
        return total - total[np.arange(len(values)) - self.place] if len(values) else total

    def _last(self, flag: np.ndarray) -> np.ndarray:
        """At each token the place in its window of the last earlier flag, -1 where there is none.

        A token that bears both the flag and something else counts at its own place.
        """
        at = np.arange(len(flag))
        last = np.maximum.accumulate(np.where(flag.astype(bool), at, -1)) if len(at) else at
        last = np.concatenate([[-1], last[:-1]]) if len(at) else last
        return np.maximum(last - (at - self.place), -1)

    def _new(self, values: np.ndarray) -> np.ndarray:
        """Where a value is the first of its kind in its window."""
        key = _paired(self._window, values)
        order = np.argsort(key, kind="stable")
        first = np.ones(len(key), dtype=bool)
        first[order[1:]] = key[order[1:]] != key[order[:-1]]
        return first

    def nearby(self, at: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Whether each word ``(c,)`` stands among the last tokens before each of ``at`` ``(t,)``.

        ``at`` are the tokens of whole windows, as :meth:`Windows.places` gives them; the answer
        is ``(t, c)``.
        """
        place = self.place[at]
        total = np.zeros((len(at) + 1, len(words)), dtype=np.int32)
        np.cumsum(self.near[at][:, None] == words, axis=0, out=total[1:])
        places = np.arange(len(at))
        return total[places] > total[places - np.minimum(place, NEAR)]

    def literal(self, literal: Literal, at: np.ndarray) -> np.ndarray:
        """Whether a literal holds at each of ``at`` ``(t,)``, the tokens of whole windows."""
        if literal.slot == CONTEXT:
            mask = sum(1 << CONTEXT_NAMES.index(v) for v in literal.values)
            holds = (self.context[at] & np.uint16(mask)) > 0
        elif literal.slot == NEARBY:
            words = [self.words[v] for v in literal.values if v in self.words]
            holds = self.nearby(at, np.array(words, dtype=np.int32)).any(axis=1)
        else:
            numbers = self.lexicon.number
            keys = [(literal.kind, v) for v in literal.values]
            features = np.array([numbers[k] for k in keys if k in numbers], dtype=np.int64)
            holds = self.lexicon.any(self.texts[literal.slot][at], features)
        return ~holds if literal.negated else holds

    def fires(self, rule: Rule, at: np.ndarray) -> np.ndarray:
        """Whether a rule fires at each of ``at`` ``(t,)``, the tokens of whole windows.

        The same as :meth:`Rule.fires`, for many places.
        """
        fired = np.zeros(len(at), dtype=bool)
        for clause in rule.clauses:
            holds = np.ones(len(at), dtype=bool)
            for literal in clause:
                holds &= self.literal(literal, at)
            fired |= holds
        return fired


_MATCHERS: WeakKeyDictionary[Windows, RuleMatcher] = WeakKeyDictionary()


def matcher_of(windows: Windows) -> RuleMatcher:
    """What rules can ask of these windows, found once for as long as they are there."""
    if windows not in _MATCHERS:
        _MATCHERS[windows] = RuleMatcher(windows)
    return _MATCHERS[windows]


def _paired(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """One number for each pair of numbers that are not negative."""
    return high.astype(np.int64) * (int(low.max(initial=0)) + 1) + low


def _words(
    windows: Windows, token: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The word up to each token, whether the token goes on with one, and all distinct texts.

    Words are put together piece by piece: all second pieces, then all third ones, and so on, each
    distinct pair of a word so far and a piece once.
    """
    vocabulary = windows.vocabulary
    closes = np.array([bool(t) and t[-1].isalnum() for t in vocabulary] or [False], dtype=bool)
    opens = np.array([joins("a", t) for t in vocabulary] or [False], dtype=bool)
    joined = np.zeros(len(token), dtype=bool)
    joined[1:] = closes[token[:-1]] & opens[token[1:]]
    joined &= place > 0
    at = np.arange(len(token))
    depth = at - np.maximum.accumulate(np.where(joined, 0, at)) if len(at) else at
    texts = list(vocabulary)
    number = {text: i for i, text in enumerate(texts)}
    word = token.copy()
    order = np.argsort(depth, kind="stable")
    bounds = np.searchsorted(depth[order], np.arange(1, int(depth.max(initial=0)) + 2))
    for low, high in pairwise(bounds):
        part = order[low:high]
        keys = _paired(word[part - 1], token[part])
        _, first, back = np.unique(keys, return_index=True, return_inverse=True)
        numbers = np.empty(len(first), dtype=np.int64)
        for i, at_first in enumerate(part[first]):
            text = texts[word[at_first - 1]] + vocabulary[token[at_first]]
            numbers[i] = number.setdefault(text, len(texts))
            if numbers[i] == len(texts):
                texts.append(text)
        word[part] = numbers[back]
    return word, joined, texts
