"""Disentanglement as RAVEL asks it: one attribute of an entity changed, the others kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from isthmus.activations import Activations
from isthmus.dictionary_benchmark.entity_facts import AT_ONCE, Prompts, asked_facts, said
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.task_protocol import (
    BenchmarkTask,
    NotMeasurable,
    Outcome,
    TaskMeasure,
    means,
)
from isthmus.language import LanguageModel

COUNTS = (2, 10, 50)
"""Latents that are swapped: the number is chosen on training pairs."""

PAIRS = 24
"""Pairs of entities for each attribute, to choose by and to judge."""

LEAST_ENTITIES, LEAST_ATTRIBUTES = 12, 3
"""Entities of which the host has to know an attribute, and attributes with as many."""


READ = 0.3
"""Share of answers that another entity's whole activation has to change, for an attribute to count.

Where the host reads an attribute elsewhere, no latent of this point can change it.
"""


@dataclass(frozen=True, eq=False)
class Swap:
    """Prompts about ``base`` entities, and the same prompts about ``source`` entities."""

    base: Prompts
    source: Prompts


@dataclass(frozen=True, eq=False)
class Question:
    """An attribute: pairs on which it should change, and pairs on which others should stay."""

    kind: str
    attribute: str
    change: Swap
    stay: Swap

    @property
    def name(self) -> str:
        """Kind and attribute."""
        return f"{self.kind}/{self.attribute}"


@dataclass(frozen=True, eq=False)
class Entities:
    """Activations of a kind's training entities in all prompts, and their attributes' classes.

    ``x`` ``(tokens, width)``, of which ``row`` ``(tokens,)`` says the prompt; ``labels``
    ``(prompts,)`` by attribute, "" where the host does not know.
    """

    x: np.ndarray
    row: np.ndarray
    labels: Mapping[str, np.ndarray]


class AttributeSwaps(BenchmarkTask):
    """After Huang et al. 2024 (RAVEL, arXiv:2402.17700) and SAEBench."""

    name = "ravel"
    title = "Disentanglement of attributes"
    about = (
        "Entities of which the host knows several attributes. At an entity's tokens some latents "
        "are given the values that they have for another entity, the error kept. Only attributes "
        "count that another entity's whole activation changes. Cause: "
        "how often the host then answers with the other's attribute; isolation: how often it still "
        "answers with its own, where another attribute is asked. Latents are those whose values "
        "differ most between the attribute's classes rather than those of others; which and how "
        "many is chosen on half of the entities, and judged on the other half."
    )
    measures = (
        TaskMeasure("disentanglement", True, "mean of cause and isolation; doing nothing has 0.5"),
        TaskMeasure("cause", True, "answers that change to the other entity's attribute"),
        TaskMeasure("isolation", True, "answers about other attributes that stay"),
    )
    main = ("disentanglement",)
    over = "attributes"
    version = 3

    def premise(self, ground: Ground, point: str, seed: int) -> None:
        questions(ground, point, seed)

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """Cause and isolation of each attribute, at the number of latents that did best before."""
        before_all, after_all = questions(ground, examined.point, seed)
        host = ground.host
        values: dict[str, dict[str, float]] = {one.name: {} for one in self.measures}
        read = ground.once(
            ("entities", examined.point, seed), lambda: _entities(ground, examined.point, seed)
        )
        for before, after in zip(before_all, after_all, strict=True):
            order = ranked(read[before.kind], examined, before.attribute)
            best, most = 0, -1.0
            for count in COUNTS:
                cause, isolation = swapped(host, examined, before, order[:count])
                if cause + isolation > most:
                    best, most = count, cause + isolation
            cause, isolation = swapped(host, examined, after, order[:best])
            values["cause"][after.name] = cause
            values["isolation"][after.name] = isolation
            values["disentanglement"][after.name] = (cause + isolation) / 2
        return Outcome({measure: means(units) for measure, units in values.items()})


def swapped(
    host: LanguageModel, examined: Examined, question: Question, latents: np.ndarray
) -> tuple[float, float]:
    """Cause and isolation where these latents are swapped."""
    rows = torch.from_numpy(examined.atoms[latents]).float()

    def change(x: Tensor, other: Tensor) -> Tensor:
        codes = [
            torch.from_numpy(examined.codes(y.numpy()).tocsc()[:, latents].toarray()).float()
            for y in (x, other)
        ]
        return (codes[1] - codes[0]) @ rows

    changed = answers(host, examined.point, question.change, change)
    stayed = answers(host, examined.point, question.stay, change)
    return _share(changed, question.change.source), _share(stayed, question.stay.base)


def answers(
    host: LanguageModel, point: str, swap: Swap, change: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """What is said of the base entities, ``(facts,)``, with something of the source entities.

    ``change`` says what is added to activations of the former, given those of both.
    """
    x, row, place = at_entity(host, swap.base, point)
    added = change(x, at_entity(host, swap.source, point)[0])

    def edits(part: slice) -> Mapping[str, Callable[[Tensor], Tensor]]:
        mine = (row >= part.start) & (row < part.stop)

        def edit(y: Tensor) -> Tensor:
            new = y.clone()
            new[row[mine] - part.start, place[mine]] += added[mine].to(y)
            return new

        return {point: edit}

    return said(host, swap.base, edits)


def at_entity(host: LanguageModel, prompts: Prompts, point: str) -> tuple[Tensor, Tensor, Tensor]:
    """Activations at the tokens of each entity, float32 ``(tokens, width)``, row by row.

    And which row and place each is at, int64 ``(tokens,)``.
    """
    places = torch.arange(prompts.ids.shape[1])
    inside = (places >= prompts.begin[:, None]) & (places <= prompts.named[:, None])
    activations = Activations(host.module, [point])
    states = []
    for start in range(0, len(prompts), AT_ONCE):
        part = slice(start, min(start + AT_ONCE, len(prompts)))
        x = activations(prompts.ids[part], prompts.mask[part])[point]
        states.append(x[inside[part].to(x.device)].float().cpu())
    row, place = inside.nonzero(as_tuple=True)
    return torch.cat(states), row, place


def ranked(entities: Entities, examined: Examined, attribute: str) -> np.ndarray:
    """Latents by how much more they vary with an attribute than with any other of the kind.

    By the component of variance between an attribute's classes, of what a latent adds to the
    activation; only those that vary more with this one.
    """
    summing = csr_array(
        (np.ones(len(entities.row)), (entities.row, np.arange(len(entities.row)))),
        shape=(len(entities.labels[attribute]), len(entities.row)),
    )
    codes = csr_array(summing @ examined.codes(entities.x))
    active = np.unique(codes.indices)
    dense = codes.tocsc()[:, active].toarray()
    dense *= np.linalg.norm(examined.atoms[active], axis=1)
    parts = {name: between(dense, labels) for name, labels in entities.labels.items()}
    others = [part for name, part in parts.items() if name != attribute]
    score = parts[attribute] - np.max(others, 0)
    order = np.argsort(-score, kind="stable")
    ranking: np.ndarray = active[order[score[order] > 0]]
    return ranking


def between(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The component of variance between classes, ``(columns,)``: chance is taken off.

    ``values`` ``(rows, columns)``; rows labelled "" are left out. The estimate of a one-way
    analysis of variance, (mean square between - within) / n0; zero where there are not two classes.
    """
    values, labels = values[labels != ""], labels[labels != ""]
    names, which = np.unique(labels, return_inverse=True)
    counts = np.bincount(which)
    if len(names) < 2 or len(labels) <= len(names):
        return np.zeros(values.shape[1])
    means_ = np.stack([values[which == k].mean(0) for k in range(len(names))])
    across = counts @ np.square(means_ - values.mean(0)) / (len(names) - 1)
    inside = np.square(values - means_[which]).sum(0) / (len(labels) - len(names))
    typical = (len(labels) - np.square(counts).sum() / len(labels)) / (len(names) - 1)
    component: np.ndarray = (across - inside) / typical
    return component


def _entities(ground: Ground, point: str, seed: int) -> dict[str, Entities]:
    """By kind; of the training half alone."""
    prompts, known = entities_asked(ground)
    answers = {
        (one.kind, one.entity, one.attribute): one.answer
        for one, right in zip(prompts.facts, known, strict=True)
        if right
    }
    training = _halves(prompts, seed)[0]
    entities = {}
    for kind in sorted({one.kind for one in prompts.facts}):
        rows = [i for i, one in enumerate(prompts.facts)
                if one.kind == kind and one.entity in training]  # fmt: skip
        attributes = sorted({one.attribute for one in prompts.facts if one.kind == kind})
        labels = {
            name: np.array([answers.get((kind, prompts.facts[i].entity, name), "") for i in rows])
            for name in attributes
        }
        x, row, _ = at_entity(ground.host, prompts.of(rows), point)
        entities[kind] = Entities(x.numpy(), row.numpy(), labels)
    return entities


def entities_asked(ground: Ground) -> tuple[Prompts, np.ndarray]:
    """All facts of entities, and which of them the host knows."""
    return ground.once("facts", lambda: asked_facts(ground.host))


def _halves(prompts: Prompts, seed: int) -> tuple[set[str], set[str]]:
    """Entities to choose by, and entities to judge on."""
    names = sorted({one.entity for one in prompts.facts})
    order = np.random.default_rng([seed, 4000]).permutation(names)
    return {*order[::2].tolist()}, {*order[1::2].tolist()}


def questions(ground: Ground, point: str, seed: int) -> tuple[list[Question], list[Question]]:
    """Each attribute that the host knows, and reads at a point: to choose by, and to judge on."""
    pair = ground.once(("swaps", point, seed), lambda: _read(ground, point, seed))
    if len(pair[0]) < LEAST_ATTRIBUTES:
        known = entities_asked(ground)[1]
        raise NotMeasurable(
            f"not measurable on this host: {ground.host.name} knows {int(known.sum())} of "
            f"{len(known)} facts about entities, and {len(pair[0])} attributes change with the "
            f"whole activation at {point}, of {LEAST_ATTRIBUTES} needed"
        )
    return pair


def _read(ground: Ground, point: str, seed: int) -> tuple[list[Question], list[Question]]:
    """The attributes that another entity's whole activation changes, asked to choose by."""
    before, after = _questions(ground, seed)
    kept = []
    for place, one in enumerate(before):
        whole = answers(ground.host, point, one.change, lambda x, other: other - x)
        if _share(whole, one.change.source) >= READ:
            kept.append(place)
    return [before[i] for i in kept], [after[i] for i in kept]


def _share(said_: Tensor, right: Prompts) -> float:
    return float((said_ == right.right).double().mean())


def _questions(ground: Ground, seed: int) -> tuple[list[Question], list[Question]]:
    prompts, known = entities_asked(ground)
    place = {(f.kind, f.attribute, f.entity): i for i, f in enumerate(prompts.facts)}
    right: dict[tuple[str, str], list[str]] = {}
    for fact, one in zip(prompts.facts, known, strict=True):
        if one:
            right.setdefault((fact.kind, fact.attribute), []).append(fact.entity)
    large = {key: some for key, some in right.items() if len(some) >= LEAST_ENTITIES}
    length = (prompts.named - prompts.begin).tolist()
    halves = _halves(prompts, seed)
    both_halves: tuple[list[Question], list[Question]] = ([], [])
    for number, (kind, attribute) in enumerate(sorted(large)):
        others = [b for k, b in sorted(large) if k == kind and b != attribute]
        both: list[Question] = []
        for half in halves:
            rng = np.random.default_rng([seed, 4001, number, len(both)])
            sources = [one for one in large[kind, attribute] if one in half]
            answer = {one: prompts.facts[place[kind, attribute, one]].answer for one in sources}
            change = [
                (place[kind, attribute, a], place[kind, attribute, b])
                for a in sources for b in sources if answer[a] != answer[b]
            ]  # fmt: skip
            stay = [
                (place[kind, other, a], place[kind, other, b])
                for other in others
                for a in large[kind, other] if a in half
                for b in sources if a != b and (kind, other, b) in place
                if answer.get(a) != answer[b]
            ]  # fmt: skip
            change, stay = (
                [(a, b) for a, b in pairs if length[a] == length[b]] for pairs in (change, stay)
            )
            if change and stay:
                both.append(
                    Question(
                        kind, attribute, _drawn(prompts, change, rng), _drawn(prompts, stay, rng)
                    )
                )
        if len(both) == 2:
            both_halves[0].append(both[0])
            both_halves[1].append(both[1])
    return both_halves


def _drawn(prompts: Prompts, pairs: list[tuple[int, int]], rng: np.random.Generator) -> Swap:
    some = np.array(pairs)[rng.permutation(len(pairs))[:PAIRS]]
    return Swap(prompts.of(some[:, 0]), prompts.of(some[:, 1]))
