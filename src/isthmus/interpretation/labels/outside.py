"""A language model as explainer and judge."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from isthmus.interpretation.labels import prompts
from isthmus.interpretation.labels.chat import Chat, Memory, Prompt
from isthmus.interpretation.labels.evidence import Evidence
from isthmus.interpretation.labels.methods import Answers, Explanation, Question

CACHE = "label_cache.jsonl"

ATTEMPTS = 3
"""How often a question is asked whose answers cannot be read."""

Found = TypeVar("Found")


class Outside:
    """Explains and judges by asking a :class:`~isthmus.interpretation.labels.chat.Chat`.

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
    ) -> "Outside":
        """``endpoint`` or ``local`` with its options, remembering in a features folder."""
        from isthmus.interpretation.labels.endpoint import Endpoint
        from isthmus.interpretation.labels.local import Local

        chat: Chat = Endpoint(**options) if kind == "endpoint" else Local(**options)
        return cls(chat, Memory(folder / CACHE), batch=batch, shown=shown)

    def explain(self, evidence: Sequence[Evidence]) -> list[Explanation]:
        """One request for each latent; an empty explanation where none could be read."""
        examples = [self._examples(e) for e in evidence]
        asked = [i for i, texts in enumerate(examples) if texts]

        def prompt(i: int, attempt: int) -> Prompt:
            return prompts.explain(examples[asked[i]], attempt)

        def read(i: int, answer: str) -> str | None:
            return prompts.read_explanation(answer)

        answers = dict(zip(asked, self._asked(len(asked), prompt, read), strict=True))
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
        found = [np.full(len(question.asked), -1, dtype=np.int8) for question in questions]

        def prompt(i: int, attempt: int) -> Prompt:
            number, begin = parts[i]
            question = questions[number]
            part = slice(begin, begin + self.batch)
            texts = [question.windows.texts(w) for w in question.asked[part]]
            marks = None if question.marks is None else question.marks[part]
            return prompts.judge(question.explanation.text, texts, marks, attempt)

        def read(i: int, answer: str) -> list[int] | None:
            number, begin = parts[i]
            left = len(questions[number].asked) - begin
            return prompts.read_judgements(answer, min(self.batch, left))

        for (number, begin), answer in zip(
            parts, self._asked(len(parts), prompt, read), strict=True
        ):
            if answer is not None:
                found[number][begin : begin + len(answer)] = answer
        return found

    def _examples(self, evidence: Evidence) -> list[tuple[list[str], np.ndarray]]:
        own = evidence.own
        if len(own) > self.shown:
            own = own[np.linspace(0, len(own) - 1, self.shown).astype(int)]
        windows = evidence.windows
        # Strongest first, as they say most and a model may weigh what comes first.
        order = sorted(own.tolist(), key=lambda w: -float(np.abs(windows.values(w)).max()))
        return [(windows.texts(w), windows.values(w)) for w in order]

    def _asked(
        self,
        number: int,
        prompt: Callable[[int, int], Prompt],
        read: Callable[[int, str], Found | None],
    ) -> list[Found | None]:
        """Ask until each answer can be read, or was asked for too often."""
        found: list[Found | None] = [None] * number
        left = list(range(number))
        for attempt in range(ATTEMPTS):
            replies = self.memory.ask(self.chat, [prompt(i, attempt) for i in left])
            for i, reply in zip(left, replies, strict=True):
                found[i] = read(i, reply.text)
            left = [i for i in left if found[i] is None]
            self.chat.spend.unreadable += len(left)
            if not left:
                break
        return found
