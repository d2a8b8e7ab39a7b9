"""Rules that read as a sentence and run as an exact judge.

A rule is a list of clauses, of which any suffices; a clause is a list of literals, which must all
hold; a literal asks one thing of a place in a text or of what stands before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isthmus.errors import IsthmusError, unknown
from isthmus.interpretation.labels.text import (
    CLASSES,
    CONTEXTS,
    KINDS,
    NEAR,
    SLOTS,
    Reading,
    features_of,
)

CONTEXT, NEARBY = "context", "nearby"
"""Slots besides the texts of :data:`SLOTS`: what holds at the place, words shortly before it."""

ORDER = ("token", "word", "before", "before that", "last word", NEARBY, CONTEXT)
"""The order in which the literals of a clause are said."""


@dataclass(frozen=True)
class Literal:
    """One question: does one of ``values`` hold of the text in ``slot`` (or, ``negated``, none)?

    ``slot`` is one of :data:`SLOTS` with a kind and values of
    :data:`~isthmus.interpretation.labels.text.KINDS`; or ``context`` with kind ``context``
    and names of :data:`CONTEXTS`; or ``nearby`` with kind ``word``: the word is one of the last
    8 tokens before the place. Where a text is missing (before the window), nothing holds of it.
    """

    slot: str
    kind: str
    values: tuple[str, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        if self.slot not in ORDER:
            raise unknown("slot of a rule", self.slot, ORDER)
        kinds = {CONTEXT: ("context",), NEARBY: ("word",)}.get(self.slot, KINDS)
        if self.kind not in kinds:
            raise unknown(f"kind of feature in the slot {self.slot!r}", self.kind, kinds)
        choices = {"context": CONTEXTS, "class": CLASSES}.get(self.kind)
        for value in self.values:
            if choices is not None and value not in choices:
                raise unknown(self.kind, value, choices)

    def holds(self, reading: Reading) -> bool:
        """Whether it holds at the last place of a reading."""
        if self.slot == CONTEXT:
            any_holds = any(v in reading.contexts for v in self.values)
        elif self.slot == NEARBY:
            any_holds = any(v in reading.near for v in self.values)
        else:
            features = features_of(reading.texts[self.slot])
            any_holds = any((self.kind, v) in features for v in self.values)
        return any_holds != self.negated

    @property
    def size(self) -> int:
        return len(self.values)


Clause = tuple[Literal, ...]


@dataclass(frozen=True)
class Rule:
    """Where a latent fires, as clauses of which any suffices; without clauses it never fires."""

    clauses: tuple[Clause, ...]

    def fires(self, tokens: Sequence[str], place: int, begin: int = 0) -> bool:
        """Whether it fires at ``place`` of a window of tokens; what follows ``place`` is not read.

        ``begin`` is the place in its row of the window's first token.
        """
        reading = Reading(tokens, place, begin)
        return any(all(literal.holds(reading) for literal in clause) for clause in self.clauses)

    @property
    def size(self) -> int:
        """Values in all literals: what the length of a rule is measured by."""
        return sum(literal.size for clause in self.clauses for literal in clause)

    def merged(self) -> "Rule":
        """The same rule with clauses that differ in the values of one literal put together."""
        clauses = [_ordered(clause) for clause in self.clauses]
        again = True
        while again:
            again = False
            for a in range(len(clauses)):
                for b in range(a + 1, len(clauses)):
                    joined = _joined(clauses[a], clauses[b])
                    if joined is not None:
                        clauses[a] = joined
                        del clauses[b]
                        again = True
                        break
                if again:
                    break
        return Rule(tuple(clauses))

    def sentence(self) -> str:
        """The rule in words: the label."""
        if not self.clauses:
            return "nothing that can be said of the text"
        return "; or ".join(_clause_in_words(clause) for clause in self.clauses)

    def to_dict(self) -> list[list[dict[str, Any]]]:
        """Plain types for JSON."""
        return [
            [
                {"slot": x.slot, "kind": x.kind, "values": list(x.values), "negated": x.negated}
                for x in clause
            ]
            for clause in self.clauses
        ]

    @classmethod
    def from_dict(cls, plain: Sequence[Sequence[Mapping[str, Any]]]) -> "Rule":
        """Read what :meth:`to_dict` wrote."""
        try:
            return cls(
                tuple(
                    tuple(
                        Literal(x["slot"], x["kind"], tuple(x["values"]), bool(x["negated"]))
                        for x in clause
                    )
                    for clause in plain
                )
            )
        except (KeyError, TypeError) as problem:
            raise IsthmusError(
                f"this is no rule ({problem!r}): give a list of clauses as Rule.to_dict writes it"
            ) from None


def _ordered(clause: Clause) -> Clause:
    return tuple(sorted(clause, key=lambda x: (ORDER.index(x.slot), x.negated)))


def _joined(a: Clause, b: Clause) -> Clause | None:
    """One clause for two that differ only in the values of one literal, else None."""
    if len(a) != len(b):
        return None
    unlike = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
    if not unlike:
        return a
    place = unlike[0]
    x, y = a[place], b[place]
    same = (x.slot, x.kind) == (y.slot, y.kind) and not x.negated and not y.negated
    if len(unlike) > 1 or not same:
        return None
    joined = replace(x, values=tuple(dict.fromkeys(x.values + y.values)))
    return (*a[:place], joined, *a[place + 1 :])


_PLACED = {
    "token": ("{}", "{}"),
    "word": ("where the word so far is {}", "where the word so far {}"),
    "before": ("right after {}", "right after text that {}"),
    "before that": ("two tokens after {}", "two tokens after text that {}"),
    "last word": ("after the word {}", "after a word that {}"),
}
"""How a slot is said with what a text is, and with what it does."""


def _clause_in_words(clause: Clause) -> str:
    """The token first: ``“ king”, right after “ the”, not inside quotation marks``."""
    clause = _ordered(clause)
    parts = [_literal_in_words(literal) for literal in clause]
    if clause[0].slot != "token" or clause[0].negated:
        parts[0] = f"a token {parts[0]}"
    return ", ".join(parts)


def _literal_in_words(literal: Literal) -> str:
    if literal.slot == CONTEXT:
        words = " or ".join(CONTEXTS[v] for v in literal.values)
    elif literal.slot == NEARBY:
        words = f"with {_quoted(literal.values)} among the {NEAR} tokens before"
    else:
        words = _text_in_words(literal)
    return f"not {words}" if literal.negated else words


def _text_in_words(literal: Literal) -> str:
    whole, part = _PLACED[literal.slot]
    quoted = _quoted(literal.values)
    ends = {"suffix": "ends in", "prefix": "begins with"}.get(literal.kind)
    if ends is not None:
        phrase = f"{ends} {quoted}"
        return f"text that {phrase}" if literal.slot == "token" else part.format(phrase)
    if literal.kind == "class":
        phrase = " or ".join(CLASSES[v] for v in literal.values)
        return part.format(f"is {phrase}") if literal.slot == "last word" else whole.format(phrase)
    free = literal.kind == "word" and literal.slot in ("token", "before", "before that")
    free = free and any(v.upper() != v for v in literal.values)
    return whole.format(quoted + (" in any case" if free else ""))


def _quoted(values: Sequence[str]) -> str:
    quoted = [f"“{v}”".replace("\n", "\\n").replace("\t", "\\t") for v in values]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]


__all__ = ["CONTEXT", "NEARBY", "ORDER", "SLOTS", "Clause", "Literal", "Rule"]
