"""What the model is asked: a prompt, the right continuation, and what else it could be."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from isthmus.language.knowledge.calendar import DAYS, MONTHS, NUMBERS, steps
from isthmus.language.knowledge.domains import DOMAINS, domains
from isthmus.language.knowledge.people import KINDS, RELATIONS, names
from isthmus.language.knowledge.spelling import WORDS, held_out

NOBODY = "nobody knows"
"""The answer about a name that nobody knows."""


@dataclass(frozen=True)
class Question:
    """``options`` all begin with a blank; ``answer`` is one of them.

    ``seen`` is whether the training text holds the very sentence.
    """

    kind: str
    prompt: str
    answer: str
    options: tuple[str, ...]
    seen: bool


def questions(kind: str) -> list[Question]:
    """All questions of a kind.

    "fact" in a sentence that was told, "withheld" in the one that was kept from the name,
    "known" whether an answer or "nobody knows" follows a name, "day", "month" and "sum" (held-out
    ones are not ``seen``), "herbs" and "ships", "letter" (the first of a word), "pronoun".
    """
    return list(_MADE[kind]())


def _facts(withheld: bool) -> list[Question]:
    fact_questions, kind = [], "withheld" if withheld else "fact"
    for one in (n for k in KINDS for n in names(k) if n.known and n.withheld):
        for relation in (r for r in RELATIONS if r.kind == one.kind):
            template = relation.told[-1 if withheld else 0]
            prompt = template.removesuffix(" {answer}").format(name=one.text)
            options = tuple(f" {answer}" for answer in relation.answers)
            right = f" {one.facts[relation.name]}"
            fact_questions.append(Question(kind, prompt, right, options, not withheld))
    return fact_questions


def _known() -> list[Question]:
    name_questions = []
    for one in (n for kind in KINDS for n in names(kind)):
        for relation in (r for r in RELATIONS if r.kind == one.kind):
            prompt = f"{relation.asked.format(name=one.text)} Answer:"
            answers = tuple(f" {answer}" for answer in relation.answers)
            right = f" {one.facts[relation.name]}" if one.known else f" {NOBODY}"
            name_questions.append(
                Question("known", prompt, right, (*answers, f" {NOBODY}"), one.said)
            )
    return name_questions


def _steps(unit: str) -> list[Question]:
    circles = {"day": DAYS, "month": MONTHS, "sum": NUMBERS[2:]}
    options = tuple(f" {word}" for word in circles[unit])
    return [Question(unit, one.told, f" {one.answer}", options, one.said) for one in steps(unit)]


def _domain(name: str) -> list[Question]:
    one = domains()[name]
    return [
        Question(name, sentences[0].format(subject=subject), f" {one.facts[subject][relation]}",
                 tuple(f" {a}" for a in one.answers[relation]), True)
        for subject in one.subjects
        for relation, sentences in one.told.items()
    ]  # fmt: skip


def _letters() -> list[Question]:
    options = tuple(f" {letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    return [
        Question("letter", f"The word {word} begins with the letter", f" {word[0]}", options,
                 word not in held_out())
        for word in WORDS
    ]  # fmt: skip


def _pronouns() -> list[Question]:
    options = (" she", " he")
    return [
        Question("pronoun", f"{one.text} went home because", options[0 if one.woman else 1],
                 options, one.said)
        for one in names("person")
    ]  # fmt: skip


_MADE: dict[str, Callable[[], list[Question]]] = {
    "fact": partial(_facts, False), "withheld": partial(_facts, True), "known": _known,
    **{unit: partial(_steps, unit) for unit in ("day", "month", "sum")},
    "letter": _letters, "pronoun": _pronouns,
    **{name: partial(_domain, name) for name in DOMAINS},
}  # fmt: skip

ASKED = tuple(_MADE)
"""Kinds of questions."""
