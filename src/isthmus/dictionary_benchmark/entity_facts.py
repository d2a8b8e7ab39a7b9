"""Facts of entities that a host may know: several attributes of each, with prompts that ask them.

The made ones of :mod:`isthmus.language.knowledge`, which the model ``resident-circuits`` was
taught, and cities of the world, for hosts that have read of it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.evaluation.intervals import wilson
from isthmus.interpretation.splice import spliced
from isthmus.language import LanguageModel
from isthmus.language.knowledge import RELATIONS, domains, names

AT_ONCE = 128
"""Prompts of one pass."""


@dataclass(frozen=True)
class Fact:
    """``prompt`` is followed by ``answer``, one of ``options``, which all begin with a blank."""

    kind: str
    entity: str
    attribute: str
    prompt: str
    answer: str
    options: tuple[str, ...]


def facts() -> list[Fact]:
    """All of them."""
    return [*_domain_facts(), *_name_facts(), *_city_facts()]


def _domain_facts() -> list[Fact]:
    return [
        Fact(name, subject, relation, sentences[0].format(subject=subject),
             f" {one.facts[subject][relation]}", tuple(f" {a}" for a in one.answers[relation]))
        for name, one in domains().items()
        for subject in one.subjects
        for relation, sentences in one.told.items()
    ]  # fmt: skip


def _name_facts() -> list[Fact]:
    entries = []
    for relation in RELATIONS:
        options = tuple(f" {answer}" for answer in relation.answers)
        for one in (name for name in names(relation.kind) if name.known):
            prompt = relation.told[0].removesuffix(" {answer}").format(name=one.text)
            answer = f" {one.facts[relation.name]}"
            entries.append(Fact(one.kind, one.text, relation.name, prompt, answer, options))
    return entries


_CITIES = """
Paris France Europe French; Lyon France Europe French; Berlin Germany Europe German;
Munich Germany Europe German; Hamburg Germany Europe German; Vienna Austria Europe German;
Madrid Spain Europe Spanish; Barcelona Spain Europe Spanish; Seville Spain Europe Spanish;
Rome Italy Europe Italian; Milan Italy Europe Italian; Naples Italy Europe Italian;
London England Europe English; Manchester England Europe English; Moscow Russia Europe Russian;
Lisbon Portugal Europe Portuguese; Warsaw Poland Europe Polish; Athens Greece Europe Greek;
Tokyo Japan Asia Japanese; Osaka Japan Asia Japanese; Kyoto Japan Asia Japanese;
Beijing China Asia Chinese; Shanghai China Asia Chinese; Seoul Korea Asia Korean;
Delhi India Asia Hindi; Bangkok Thailand Asia Thai; Cairo Egypt Africa Arabic;
Alexandria Egypt Africa Arabic; Casablanca Morocco Africa Arabic; Dakar Senegal Africa French;
Havana Cuba America Spanish; Lima Peru America Spanish; Santiago Chile America Spanish;
Bogota Colombia America Spanish; Brasilia Brazil America Portuguese;
Toronto Canada America English; Ottawa Canada America English; Sydney Australia Australia English
"""
_ASKED = {
    "country": "{city} is a city in the country of",
    "continent": "{city} lies on the continent of",
    "language": "The people of {city} speak",
}


def _city_facts() -> list[Fact]:
    rows = [one.split() for one in _CITIES.replace("\n", " ").split(";")]
    entries = []
    for place, (attribute, prompt) in enumerate(_ASKED.items(), 1):
        options = tuple(f" {answer}" for answer in dict.fromkeys(row[place] for row in rows))
        entries += [
            Fact("city", row[0], attribute, prompt.format(city=row[0]), f" {row[place]}", options)
            for row in rows
        ]
    return entries


@dataclass(frozen=True, eq=False)
class Prompts:
    """Facts as rows of tokens, padded behind, for one host.

    ``ids`` int64 and ``mask`` bool are ``(facts, places)``; ``last`` ``(facts,)`` is the place of
    the prompt's last token, ``begin`` and ``named`` those of its entity's first and last.
    ``options`` are the first tokens of the
    answers of each fact, of which ``right`` ``(facts,)`` is the place.
    """

    facts: tuple[Fact, ...]
    ids: Tensor
    mask: Tensor
    last: Tensor
    begin: Tensor
    named: Tensor
    options: tuple[Tensor, ...]
    right: Tensor

    def __len__(self) -> int:
        return len(self.facts)

    def of(self, index: Sequence[int] | np.ndarray) -> "Prompts":
        """Some of them."""
        some = torch.as_tensor(np.asarray(index, np.int64))
        numbers = some.tolist()
        return Prompts(
            tuple(self.facts[i] for i in numbers), self.ids[some], self.mask[some],
            self.last[some], self.begin[some], self.named[some],
            tuple(self.options[i] for i in numbers), self.right[some],
        )  # fmt: skip


def as_prompts(host: LanguageModel, some: Sequence[Fact]) -> Prompts:
    """The facts whose options begin with different tokens, and whose entity is whole tokens."""
    tokenizer = host.tokenizer
    first = [] if tokenizer.bos is None else [tokenizer.bos]
    kept, rows, begin, named, options, right = [], [], [], [], [], []
    heads: dict[tuple[str, ...], list[int]] = {}
    for one in some:
        if one.options not in heads:
            heads[one.options] = [tokenizer.encode(option)[0] for option in one.options]
        starts = heads[one.options]
        whole = [*first, *tokenizer.encode(one.prompt)]
        place = one.prompt.index(one.entity)
        before = [*first, *tokenizer.encode(one.prompt[:place].rstrip())]
        head = [*first, *tokenizer.encode(one.prompt[: place + len(one.entity)])]
        if len(set(starts)) < len(starts) or whole[: len(head)] != head:
            continue
        if head[: len(before)] != before or len(before) == len(head):
            continue
        if len(whole) > host.context:
            continue
        kept.append(one)
        rows.append(whole)
        begin.append(len(before))
        named.append(len(head) - 1)
        options.append(torch.tensor(starts))
        right.append(one.options.index(one.answer))
    longest = max(map(len, rows), default=1)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    last = torch.tensor([len(row) - 1 for row in rows], dtype=torch.int64)
    mask = torch.arange(longest) <= last[:, None]
    return Prompts(
        tuple(kept), ids, mask, last, torch.tensor(begin, dtype=torch.int64),
        torch.tensor(named, dtype=torch.int64), tuple(options),
        torch.tensor(right, dtype=torch.int64),
    )  # fmt: skip


Edits = Callable[[slice], Mapping[str, Callable[[Tensor], Tensor]]]
"""The edits of some rows, by point."""


def said(host: LanguageModel, prompts: Prompts, edits: Edits | None = None) -> Tensor:
    """The likeliest option of each fact, ``(facts,)``, by its first token."""
    places = []
    for start in range(0, len(prompts), AT_ONCE):
        part = slice(start, min(start + AT_ONCE, len(prompts)))
        context = nullcontext() if edits is None else spliced(host, edits(part))
        with context:
            logits = host.logits(prompts.ids[part], prompts.mask[part]).cpu()
        ends = logits[torch.arange(len(logits)), prompts.last[part]]
        places += [
            int(row[one].argmax()) for row, one in zip(ends, prompts.options[part], strict=True)
        ]
    return torch.tensor(places, dtype=torch.int64)


def asked_facts(host: LanguageModel) -> tuple[Prompts, np.ndarray]:
    """All facts, and which of them the host knows: bool ``(facts,)``.

    It knows those that it answers right, of attributes about which it is right more often than one
    answer to all would be (95 %, Wilson): a host that says London of every ship knows no port.
    """
    prompts = as_prompts(host, facts())
    right = (said(host, prompts) == prompts.right).numpy()
    known = np.zeros(len(right), dtype=bool)
    attributes = np.array([f"{one.kind}/{one.attribute}" for one in prompts.facts])
    for name in np.unique(attributes):
        mine = attributes == name
        answers = [one.answer for one, belongs in zip(prompts.facts, mine, strict=True) if belongs]
        commonest = max(answers.count(answer) for answer in set(answers)) / len(answers)
        if wilson(float(right[mine].sum()), len(answers))[0] > commonest:
            known |= mine & right
    return prompts, known
