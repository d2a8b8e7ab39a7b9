"""Unlearning: the latents of a topic clamped below zero, its facts forgotten, others kept."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from isthmus.activations import Activations
from isthmus.dictionary_benchmark.attribute_swaps import entities_asked
from isthmus.dictionary_benchmark.entity_facts import Prompts, said
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.task_protocol import (
    BenchmarkTask,
    NotMeasurable,
    Outcome,
    TaskMeasure,
    means,
)
from isthmus.interpretation.selection import firing_shares, ranked_latents
from isthmus.interpretation.steering import Steering
from isthmus.language import LanguageModel, pack
from isthmus.language.document import Document
from isthmus.language.knowledge import DOMAINS, domains

RETAINED = (0.01, 0.05)
"""Latents that are active on a larger share of the retained text are left out."""

COUNTS = (5, 20)
"""Latents that are clamped."""

CLAMPS = (0.5, 2.0)
"""What they are clamped to below zero, in mean lengths of an activation by the atom's length."""

KEPT = 0.95
"""Share of the retained questions that a setting must leave right, where settings are chosen.

SAEBench asks for 0.99 of hundreds of questions; of forty that would be all of them.
"""

LEAST = 20
"""Facts of each topic that the host has to know."""

SENTENCES = 400
"""Sentences of each topic that latents are chosen on."""


@dataclass(frozen=True, eq=False)
class Topic:
    """A topic's facts that the host knows, in two halves: to choose settings by, and to judge."""

    name: str
    halves: tuple[Prompts, Prompts]


class TopicUnlearning(BenchmarkTask):
    """After Farrell, Lau & Conmy 2024 (arXiv:2410.19278) and SAEBench."""

    name = "unlearning"
    title = "Unlearning"
    about = (
        "Two topics of facts, each to be forgotten in turn while the other is kept. Of latents "
        "that are active on at most 1 or 5 % of the tokens of the kept topic's text, the 5 or 20 "
        "that are most active on the other's are clamped to a negative value where they are "
        "active. Of the settings that leave 95 % of the kept topic's questions right the one that "
        "spoils most is taken: chosen on half of the questions, judged on the other half. Only "
        "questions that the host answers right count."
    )
    measures = (
        TaskMeasure("forgotten", True, "questions of the topic that are answered wrong"),
        TaskMeasure("kept", True, "questions of the other topic that are answered right"),
    )
    main = ("forgotten", "kept")
    over = "questions"
    version = 3

    def premise(self, ground: Ground, point: str, seed: int) -> None:
        topics(ground, seed)

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """Both topics forgotten in turn, by question."""
        values: dict[str, dict[str, float]] = {one.name: {} for one in self.measures}
        pair = topics(ground, seed)
        for topic, other in (pair, pair[::-1]):
            edit = best_edit(examined, ground, topic, other, seed)
            for name, prompts, forgotten in (
                ("forgotten", topic.halves[1], True),
                ("kept", other.halves[1], False),
            ):
                right = right_answers(ground.host, prompts, examined.point, edit)
                for fact, one in zip(prompts.facts, right.tolist(), strict=True):
                    values[name][f"{fact.entity}/{fact.attribute}"] = float(one != forgotten)
        return Outcome({measure: means(units) for measure, units in values.items()})


def best_edit(
    examined: Examined, ground: Ground, topic: Topic, other: Topic, seed: int
) -> Steering | None:
    """The setting that spoils most of a topic's first half and keeps the other's; None: none."""
    x = [topic_text(ground, examined.point, one.name) for one in (topic, other)]
    shares = [firing_shares(examined.model, one) for one in x]
    length = float(np.linalg.norm(x[0], axis=1).mean())
    lengths = np.linalg.norm(examined.atoms, axis=1)
    best, most = None, 0.0
    seen: set[tuple[float, tuple[int, ...]]] = set()
    for retained, count, clamp in itertools.product(RETAINED, COUNTS, CLAMPS):
        latents = tuple(ranked_latents(shares[0], shares[1], retained, count).tolist())
        if not latents or (clamp, latents) in seen:
            continue
        seen.add((clamp, latents))
        values = {j: -clamp * length / max(float(lengths[j]), 1e-12) for j in latents}
        edit = Steering(examined.model, clamp=values, where_active=True)
        kept = right_answers(ground.host, other.halves[0], examined.point, edit).mean()
        if kept < KEPT:
            continue
        spoilt = 1.0 - right_answers(ground.host, topic.halves[0], examined.point, edit).mean()
        if spoilt > most:
            best, most = edit, float(spoilt)
    return best


def right_answers(
    host: LanguageModel, prompts: Prompts, point: str, edit: Steering | None
) -> np.ndarray:
    """Which questions are answered right under an edit, bool ``(facts,)``."""
    edits = None if edit is None else lambda part: {point: edit}
    right: np.ndarray = (said(host, prompts, edits) == prompts.right).numpy()
    return right


def topics(ground: Ground, seed: int) -> tuple[Topic, Topic]:
    """Both topics, their questions divided by the seed."""
    prompts, known = entities_asked(ground)
    pair = []
    for name in DOMAINS:
        right = [i for i, fact in enumerate(prompts.facts) if fact.kind == name and known[i]]
        if len(right) < LEAST:
            raise NotMeasurable(
                f"not measurable on this host: {ground.host.name} knows {len(right)} facts about "
                f"{name}, of {LEAST} needed"
            )
        order = np.random.default_rng([seed, 5000]).permutation(right)
        pair.append(Topic(name, (prompts.of(order[::2]), prompts.of(order[1::2]))))
    return pair[0], pair[1]


def topic_text(ground: Ground, point: str, name: str) -> np.ndarray:
    """What :func:`topic_states` gives, found once."""
    return ground.once(("topic", point, name), lambda: topic_states(ground.host, point, name))


def topic_states(host: LanguageModel, point: str, name: str) -> np.ndarray:
    """Activations of a topic's sentences, its facts in other words than it is asked in."""
    one, rng = domains()[name], np.random.default_rng([5001, DOMAINS.index(name)])
    sentences = []
    for _ in range(SENTENCES):
        subject = str(rng.choice(one.subjects))
        relation = str(rng.choice(list(one.told)))
        beginning = one.told[relation][-1].format(subject=subject)
        sentences.append(f"{beginning} {one.facts[subject][relation]}.")
        if rng.random() < 0.2:
            sentences.append(str(rng.choice(one.jargon)))
    documents = [
        Document(f"{name} {i}", " ".join(sentences[i : i + 8])) for i in range(0, len(sentences), 8)
    ]
    tokens = pack(documents, host.tokenizer, min(host.context, 256))
    special = torch.tensor(sorted(host.tokenizer.special), dtype=torch.int64)
    activations = Activations(host.module, [point])
    states = []
    for start in range(0, len(tokens), 32):
        part = slice(start, start + 32)
        x = activations(tokens.ids[part], tokens.mask[part])[point]
        states.append(x[tokens.mask[part] & ~torch.isin(tokens.ids[part], special)].float().cpu())
    return torch.cat(states).numpy()
