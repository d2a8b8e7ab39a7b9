"""Who explains and who judges: the two roles, and the rules that play both without a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels.evidence import Evidence
from isthmus.interpretation.labels.rules import Rule
from isthmus.interpretation.labels.search import find_rule
from isthmus.interpretation.labels.windows import Windows


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
        found = []
        for shown in evidence:
            rule, fit = find_rule(shown.windows, shown.own, shown.silent)
            detail = {"rule": rule.to_dict(), "fit": round(fit, 4), "size": rule.size}
            found.append(Explanation(rule.sentence(), rule, len(shown.own), detail))
        return found

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
    fires = question.windows.scene.fires(rule, at)
    if question.marks is None:
        return np.logical_or.reduceat(fires, starts).astype(np.int8)
    marked = zip(starts, question.marks, strict=True)
    right = [2 * fires[first + places].sum() >= len(places) for first, places in marked]
    return np.array(right, dtype=np.int8)
