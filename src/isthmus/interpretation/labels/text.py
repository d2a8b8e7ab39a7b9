"""What can be said of one piece of text: its spelling, its ends, its classes."""

from collections.abc import Sequence
from functools import lru_cache

Feature = tuple[str, str]
"""A kind and a value: ``("suffix", "ing")`` holds for a text that ends so."""

KINDS = ("is", "word", "class", "suffix", "prefix")
"""Kinds of features, the plainest first: where two say the same of the examples, it is preferred.

``is`` is the text itself, ``word`` the text without outer spaces and case, ``class`` one of
:data:`CLASSES`, ``suffix`` and ``prefix`` its last and first 1 to 4 characters (2 to 4 for the
prefix) without outer spaces and case; a text is not its own prefix or suffix.
"""

_WORDS = {
    "determiner": "the a an this that these those my your his her its our their some any no every "
    "each either neither both all such what which whose another other many much few several",
    "preposition": "of in to for with on at by from into upon through over under between among "
    "against about after before during without within above below across along around behind "
    "beneath beside beyond down near off out toward towards until up since like except despite",
    "pronoun": "i me we us you he him she it they them one myself himself herself itself "
    "ourselves themselves yourself thou thee ye who whom mine yours hers ours theirs",
    "conjunction": "and or but nor so yet because although though if unless while when whereas "
    "that than as whether",
    "auxiliary": "is am are was were be been being have has had having do does did will would "
    "shall should may might must can could ought",
    "question word": "who whom whose what which when where why how",
    "negation": "not no never none nothing nobody nowhere neither nor n't cannot without",
    "number word": "one two three four five six seven eight nine ten eleven twelve twenty thirty "
    "forty fifty sixty seventy eighty ninety hundred thousand million first second third fourth "
    "fifth half dozen",
}  # fmt: skip
_CLASS_OF: dict[str, list[str]] = {}
for _name, _list in _WORDS.items():
    for _word in _list.split():
        _CLASS_OF.setdefault(_word, []).append(_name)

CLASSES = {
    "spaced": "text that begins with a space",
    "unspaced": "text that begins without a space",
    "capitalised": "a capitalised text",
    "capitals": "text in capitals",
    "lower-case": "text in lower case",
    "digits": "a number",
    "punctuation": "punctuation",
    "white space": "white space",
    "line break": "a line break",
    "sentence end": "a sentence end",
    "quotation mark": "a quotation mark",
    "bracket": "a bracket",
    "dash": "a dash",
    "not ASCII": "text with a character outside ASCII",
    "one letter": "a single letter",
    "short": "2 or 3 letters",
    "long": "8 or more letters",
    "determiner": "a determiner",
    "preposition": "a preposition",
    "pronoun": "a pronoun",
    "conjunction": "a conjunction",
    "auxiliary": "an auxiliary verb",
    "question word": "a question word",
    "negation": "a negation",
    "number word": "a number word",
}
"""Classes and the noun phrase that stands for each in a label."""

ENDS = frozenset(".!?")
QUOTES = frozenset('"“”«»„')
OPENING, CLOSING = frozenset("([{"), frozenset(")]}")
DASHES = frozenset("-–—―")


def folded(text: str) -> str:
    """Without outer spaces and case; white space alone stays as it is."""
    return text.strip().lower() or text


def has_letters(text: str) -> bool:
    """Whether a letter or digit is in it."""
    return any(c.isalnum() for c in text)


def joins(before: str, text: str) -> bool:
    """Whether ``text`` goes on with the word that ``before`` ends with.

    That is, a letter, digit or apostrophe follows a letter or digit.
    """
    if not before or not text or not before[-1].isalnum():
        return False
    return text[0].isalnum() or (text[0] in "'’" and len(text) > 1 and text[1].isalnum())


@lru_cache(maxsize=2**17)
def features_of(text: str) -> frozenset[Feature]:
    """All features that hold for a text; none for the empty text."""
    if not text:
        return frozenset()
    stripped = folded(text)
    features = {("is", text), ("word", stripped)}
    features |= {("class", name) for name in classes_of(text)}
    if has_letters(stripped):
        features |= {("suffix", stripped[-n:]) for n in range(1, 5) if n < len(stripped)}
        features |= {("prefix", stripped[:n]) for n in range(2, 5) if n < len(stripped)}
    return frozenset(features)


def classes_of(text: str) -> list[str]:
    """The names of the classes that a text belongs to."""
    stripped = text.strip()
    classes = ["spaced" if text[0].isspace() else "unspaced"]
    letters = [c for c in stripped if c.isalpha()]
    if letters:
        if all(c.islower() for c in letters):
            classes.append("lower-case")
        elif len(letters) > 1 and all(c.isupper() for c in letters):
            classes.append("capitals")
        if letters[0].isupper() and not any(c.isupper() for c in letters[1:]):
            classes.append("capitalised")
        size = len(letters)
        if size == 1:
            classes.append("one letter")
        elif size <= 3:
            classes.append("short")
        elif size >= 8:
            classes.append("long")
    if any(c.isdigit() for c in stripped):
        classes.append("digits")
    if stripped and not has_letters(stripped):
        classes.append("punctuation")
    if not stripped:
        classes.append("white space")
    marks = set(text)
    for name, some in (
        ("sentence end", ENDS),
        ("quotation mark", QUOTES),
        ("bracket", OPENING | CLOSING),
        ("dash", DASHES),
        ("line break", {"\n"}),
    ):
        if marks & some:
            classes.append(name)
    if not text.isascii():
        classes.append("not ASCII")
    classes += _CLASS_OF.get(stripped.lower(), [])
    return classes


SLOTS = ("token", "before", "word", "last word", "before that")
"""Texts that a rule may ask about.

``token`` at the place itself, ``before`` and ``before that`` one and two places earlier; ``word``
is the word that the token belongs to, up to and with the token; ``last word`` the whole word before
that one, whatever punctuation stands between.
"""

CONTEXTS = {
    "row start": "among the first 2 places of a row",
    "row head": "among the first 6 places of a row",
    "quoted": "inside quotation marks",
    "bracketed": "inside brackets",
    "sentence start": "at the beginning of a sentence",
    "line start": "at the beginning of a line",
    "near a number": "within 3 tokens after a number",
    "repeated": "seen before in the text",
    "repeated pair": "in a pair of tokens seen before in the text",
}
"""What may hold at a place, and how a label says it."""

NEAR = 8
"""How many tokens back the words that stand nearby are looked for."""


class Reading:
    """The text up to one place of a window, as exact definitions; :class:`Scene` does many.

    ``begin`` is the place in the row of the window's first token.
    """

    def __init__(self, tokens: Sequence[str], place: int, begin: int = 0) -> None:
        if not 0 <= place < len(tokens):
            raise IndexError(f"place {place} of a window of {len(tokens)} tokens")
        self.tokens, self.at = list(tokens[: place + 1]), begin + place
        words = _words(self.tokens)
        texts = {
            "token": self.tokens[-1],
            "word": words[-1],
            "before": self.tokens[-2] if place > 0 else "",
            "before that": self.tokens[-3] if place > 1 else "",
            "last word": _last_word(self.tokens, words),
        }
        self.texts: dict[str, str] = texts
        self.contexts = frozenset(self._contexts())
        self.near = frozenset(folded(t) for t in self.tokens[-1 - NEAR : -1] if has_letters(t))

    def _contexts(self) -> list[str]:
        *earlier, token = self.tokens
        contexts = [name for name, size in (("row start", 2), ("row head", 6)) if self.at < size]
        text = "".join(earlier)
        if text.count('"') % 2 or text.count("“") > text.count("”"):
            contexts.append("quoted")
        if sum(text.count(c) for c in OPENING) > sum(text.count(c) for c in CLOSING):
            contexts.append("bracketed")
        ends = [i for i, t in enumerate(earlier) if set(t) & (ENDS | {"\n"})]
        if ends and has_letters(token) and not any(map(has_letters, earlier[ends[-1] + 1 :])):
            contexts.append("sentence start")
        if earlier and "\n" in earlier[-1]:
            contexts.append("line start")
        if any(c.isdigit() for t in earlier[-3:] for c in t):
            contexts.append("near a number")
        same = [i for i, t in enumerate(earlier) if folded(t) == folded(token)]
        if same and has_letters(token):
            contexts.append("repeated")
        if any(i > 0 and folded(earlier[i - 1]) == folded(earlier[-1]) for i in same):
            contexts.append("repeated pair")
        return contexts


def _words(tokens: Sequence[str]) -> list[str]:
    """At each place the word up to and with the token."""
    words: list[str] = []
    for place, token in enumerate(tokens):
        joined = place > 0 and joins(tokens[place - 1], token)
        words.append(words[-1] + token if joined else token)
    return words


def _last_word(tokens: Sequence[str], words: Sequence[str]) -> str:
    """The word before the one that the last token belongs to; empty where there is none."""
    place = len(tokens) - 1
    while place > 0 and joins(tokens[place - 1], tokens[place]):
        place -= 1
    earlier = [i for i in range(place) if has_letters(tokens[i])]
    return words[earlier[-1]] if earlier else ""
