"""Explainers and judges: the two roles, and who plays them: rules, or a language model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels.chat import Chat, Memory, Prompt
from isthmus.interpretation.labels.evidence import Evidence
from isthmus.interpretation.labels.prompts import (
    explanation_prompt,
    judgement_prompt,
    read_explanation,
    read_judgements,
)
from isthmus.interpretation.labels.rule_matching import matcher_of
from isthmus.interpretation.labels.rule_search import find_rule
from isthmus.interpretation.labels.rules import Rule
from isthmus.interpretation.labels.windows import Windows

CACHE = "label_cache.jsonl"

ATTEMPTS = 3
"""How often a question is asked whose answers cannot be read."""


Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Explanation:
    """What an explainer found of a latent.

    ``rule`` is the same as something to run, where there is such a thing; ``examples`` counts the
    windows seen; ``detail`` goes to the label's own. An empty ``text`` says that there is none.
    """

    text: str
    rule: Rule | None = None
    examples: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Question:
    """Windows for a judge: does the explanation hold of each?

    ``asked`` are numbers of ``windows``. With ``marks``, for each of them the places that are
    highlighted, the question is whether the highlighted tokens are right (fuzzing); without, it is
    whether the latent fires anywhere in the window (detection).
    """

    explanation: Explanation
    windows: Windows
    asked: np.ndarray
    marks: Sequence[np.ndarray] | None = None


Answers = np.ndarray
"""int8 ``(asked,)``: 1 yes, 0 no, -1 where the judge gave no answer that can be read."""


class Explainer(Protocol):
    """Says what latents fire on, from examples."""

    name: str

    def explain(self, evidence: Sequence[Evidence]) -> list[Explanation]: ...


class Judge(Protocol):
    """Says from an explanation alone where a latent should fire."""

    name: str

    def judge(self, questions: Sequence[Question]) -> list[Answers]: ...


class Rules:
    """The explainer and judge that need no model: a short rule, found greedily, and run exactly.

    Cf. Paulo et al. 2024, "Automatically Interpreting Millions of Features in Large Language
    Models" (2410.13928), where a language model plays both roles. The rule is a list of clauses
    over the token, the tokens and the word before it, their endings and classes, and what the text
    before them says of the place; see :mod:`isthmus.interpretation.labels.rules`.
    """

    name = "rules"

    def explain(self, evidence: Sequence[Evidence]) -> list[Explanation]:
        """A rule for each latent; ``detail`` has the rule and its fit to the examples shown."""
        explanations = []
        for one in evidence:
            rule, fit = find_rule(one.windows, one.firing, one.silent)
            detail = {"rule": rule.to_dict(), "fit": round(fit, 4), "size": rule.size}
            explanations.append(Explanation(rule.sentence(), rule, len(one.firing), detail))
        return explanations

    def judge(self, questions: Sequence[Question]) -> list[Answers]:
        """Run the rules: a window where the rule fires anywhere; highlights that it fires on.

        Highlights are right where the rule fires on at least half of them.
        """
        return [_run(question) for question in questions]


def _run(question: Question) -> Answers:
    rule = question.explanation.rule
    if rule is None:
        raise IsthmusError(
            "this explanation is no rule: have it judged by a language model, not by 'rules'"
        )
    if not len(question.asked):
        return np.zeros(0, dtype=np.int8)
    at, starts = question.windows.places(question.asked)
    fires = matcher_of(question.windows).fires(rule, at)
    if question.marks is None:
        return np.logical_or.reduceat(fires, starts).astype(np.int8)
    marked = zip(starts, question.marks, strict=True)
    right = [2 * fires[first + places].sum() >= len(places) for first, places in marked]
    return np.array(right, dtype=np.int8)


class ChatLabeller:
    """A language model as explainer and judge, asked through a ``chat``.

    ``memory`` is where replies are kept. ``batch`` windows are judged in one request. ``shown`` is
    how many examples one explanation is asked with, evenly over those given. An answer that cannot
    be read is asked for again, at most 3 times in all; then there is no explanation, or no
    judgement of these windows.
    """

    def __init__(self, chat: Chat, memory: Memory, *, batch: int = 5, shown: int = 20) -> None:
        self.chat, self.memory, self.batch, self.shown = chat, memory, batch, shown
        self.name, self.spend = chat.name, chat.spend

    @classmethod
    def open(
        cls, kind: str, folder: Path, *, batch: int = 5, shown: int = 20, **options: Any
    ) -> "ChatLabeller":
        """``endpoint`` or ``local`` with its options, remembering in a features folder."""
        from isthmus.interpretation.labels.endpoint import Endpoint
        from isthmus.interpretation.labels.local import Local

        chat: Chat = Endpoint(**options) if kind == "endpoint" else Local(**options)
        return cls(chat, Memory(folder / CACHE), batch=batch, shown=shown)

    def explain(self, evidence: Sequence[Evidence]) -> list[Explanation]:
        """One request for each latent; an empty explanation where none could be read."""
        examples = [self._examples(e) for e in evidence]
        indices = [i for i, texts in enumerate(examples) if texts]

        def prompt(i: int, attempt: int) -> Prompt:
            return explanation_prompt(examples[indices[i]], attempt)

        def read(i: int, answer: str) -> str | None:
            return read_explanation(answer)

        answers = dict(zip(indices, self._asked(len(indices), prompt, read), strict=True))
        return [
            Explanation(answers.get(i) or "", examples=len(texts), detail={"explainer": self.name})
            for i, texts in enumerate(examples)
        ]

    def judge(self, questions: Sequence[Question]) -> list[Answers]:
        """Windows of one question in batches; -1 for those whose answer could not be read."""
        parts = [
            (number, begin)
            for number, question in enumerate(questions)
            for begin in range(0, len(question.asked), self.batch)
        ]
        judgements = [np.full(len(question.asked), -1, dtype=np.int8) for question in questions]

        def prompt(i: int, attempt: int) -> Prompt:
            number, begin = parts[i]
            question = questions[number]
            part = slice(begin, begin + self.batch)
            texts = [question.windows.texts(w) for w in question.asked[part]]
            marks = None if question.marks is None else question.marks[part]
            return judgement_prompt(question.explanation.text, texts, marks, attempt)

        def read(i: int, answer: str) -> list[int] | None:
            number, begin = parts[i]
            rest = len(questions[number].asked) - begin
            return read_judgements(answer, min(self.batch, rest))

        for (number, begin), answer in zip(
            parts, self._asked(len(parts), prompt, read), strict=True
        ):
            if answer is not None:
                judgements[number][begin : begin + len(answer)] = answer
        return judgements

    def _examples(self, evidence: Evidence) -> list[tuple[list[str], np.ndarray]]:
        firing = evidence.firing
        if len(firing) > self.shown:
            firing = firing[np.linspace(0, len(firing) - 1, self.shown).astype(int)]
        windows = evidence.windows
        # Strongest first, as they say most and a model may weigh what comes first.
        order = sorted(firing.tolist(), key=lambda w: -float(np.abs(windows.values(w)).max()))
        return [(windows.texts(w), windows.values(w)) for w in order]

    def _asked(
        self,
        number: int,
        prompt: Callable[[int, int], Prompt],
        read: Callable[[int, str], Answer | None],
    ) -> list[Answer | None]:
        """Ask until each answer can be read, or was asked for too often."""
        answers: list[Answer | None] = [None] * number
        pending = list(range(number))
        for attempt in range(ATTEMPTS):
            replies = self.memory.ask(self.chat, [prompt(i, attempt) for i in pending])
            for i, reply in zip(pending, replies, strict=True):
                answers[i] = read(i, reply.text)
            pending = [i for i in pending if answers[i] is None]
            self.chat.spend.unreadable += len(pending)
            if not pending:
                break
        return answers
