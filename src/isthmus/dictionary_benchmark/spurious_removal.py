"""Spurious correlation removal (SCR): a biased probe, and the latents of its bias taken out."""

import itertools
from dataclasses import dataclass

import numpy as np

from isthmus.dictionary_benchmark.ablated_probes import (
    COUNTS,
    difference,
    largest_effects,
    spurious_effects,
    without,
)
from isthmus.dictionary_benchmark.concept_probes import KNOWN, TRAIN, ConceptProbe, are_told
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.dictionary_benchmark.task_protocol import (
    BenchmarkTask,
    NotMeasurable,
    Outcome,
    TaskMeasure,
    means,
)

ROOM = 0.05
"""How much better a probe of balanced texts has to be than the biased one, for removal to show."""


@dataclass(frozen=True, eq=False)
class Bias:
    """A probe that was fitted where two attributes go together, and what it is asked.

    ``wanted`` are the classes of the attribute that it should tell, bool, on the texts ``test``;
    ``original`` and ``clean`` the accuracies there of the biased probe and of one of balanced
    texts. ``other`` is a probe of the attribute that leads it astray, on the texts ``train`` with
    its classes ``other_on``.
    """

    name: str
    texts: TextSet
    probe: ConceptProbe
    test: np.ndarray
    wanted: np.ndarray
    original: float
    clean: float
    other: ConceptProbe
    train: np.ndarray
    other_on: np.ndarray


class SpuriousRemoval(BenchmarkTask):
    """Karvonen et al. 2025 (SAEBench, arXiv:2503.09532), after SHIFT of Marks et al. 2024."""

    name = "scr"
    title = "Spurious correlation removal"
    about = (
        "A probe of the host's mean activations is fitted to texts in which two attributes go "
        "together, so that it cannot know which of them is meant. The n latents that most move a "
        "probe of the attribute that is not meant are set to zero, and the biased probe is asked "
        "of balanced texts again: S = (ablated - original) / (clean - original), its gain over "
        "that of a probe of balanced texts. Of the two attributes the one that the biased probe "
        "tells worse is meant. 1: the bias is gone; 0: nothing was done; below: harm. Pairs whose "
        f"clean probe is not better by {ROOM:g} have no room for it and are left out, as are those "
        f"of which an attribute is told right of fewer than {KNOWN:.0%} of training texts."
    )
    measures = tuple(
        TaskMeasure(f"scr_{n}", True, f"S with {n} latents set to zero", "fraction") for n in COUNTS
    )
    main = ("scr_10",)
    over = "pairs of attributes"
    version = 2

    def premise(self, ground: Ground, point: str, seed: int) -> None:
        biases(ground, point, seed)

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """S for every pair of attributes."""
        values: dict[int, dict[str, float]] = {n: {} for n in COUNTS}
        for bias in biases(ground, examined.point, seed):
            x = ground.pooled(bias.texts, examined.point)
            codes = ground.pooled_codes(examined, bias.texts)
            gap = difference(codes, bias.train, bias.other_on)
            effects = spurious_effects(gap, examined.atoms, bias.other)
            for n in COUNTS:
                latents = largest_effects(effects, n)
                ablated = without(x[bias.test], codes[bias.test], examined.atoms, latents)
                accuracy = bias.probe.accuracy(ablated, bias.wanted)
                values[n][bias.name] = scr_score(bias.original, bias.clean, accuracy)
        return Outcome({f"scr_{n}": means(values[n]) for n in COUNTS})


def scr_score(original: float, clean: float, ablated: float) -> float:
    """``(ablated - original) / (clean - original)``; not defined without room between the two."""
    return (ablated - original) / (clean - original)


def biases(ground: Ground, point: str, seed: int) -> list[Bias]:
    """Every pair of attributes with room for removal, the same for all dictionaries."""

    def make() -> tuple[int, list[Bias]]:
        pairs = [
            (texts, pair)
            for texts in ground.sets
            for pair in itertools.combinations(
                [name for name in texts.labels if len(texts.classes(name)) == 2], 2
            )
        ]
        probes = [biased(texts, ground.pooled(texts, point), *pair, seed) for texts, pair in pairs]
        return len(pairs), [
            one for one in probes if one is not None and one.clean - one.original >= ROOM
        ]

    pairs_there, usable = ground.once(("biases", point, seed), make)
    if not pairs_there:
        raise NotMeasurable(
            "not measurable with these texts: SCR needs two columns of labels of two classes each"
        )
    if not usable:
        raise NotMeasurable(
            f"not measurable on this host: in {point} of {ground.host.name} no pair of attributes "
            "biases a probe that balanced texts would not"
        )
    return usable


def biased(texts: TextSet, x: np.ndarray, first: str, second: str, seed: int) -> Bias | None:
    """The biased probe of two attributes, fitted to mean activations ``x`` ``(texts, width)``.

    None where the activations of training texts do not tell both: the attribute that is told worse
    would be one that nothing tells, and the score a ratio of chances.
    """
    on = [texts.of(name, texts.classes(name)[0]) for name in (first, second)]
    rng = np.random.default_rng([seed, 2000])
    cells = [
        np.flatnonzero((on[0] == a) & (on[1] == b)) for a in (True, False) for b in (True, False)
    ]
    least = min(map(len, cells))
    drawn = [rng.permutation(cell)[:least] for cell in cells]
    cut = round(TRAIN * least)
    train = np.concatenate([cell[:cut] for cell in drawn])
    test = np.concatenate([cell[cut:] for cell in drawn])
    mixed = train[rng.permutation(len(train))]
    if not all(are_told(x[mixed], one[mixed]) for one in on):
        return None
    together = train[on[0][train] == on[1][train]]
    probe = ConceptProbe.fit(x[together], on[0][together])
    original = [probe.accuracy(x[test], one[test]) for one in on]
    clean = [ConceptProbe.fit(x[train], one[train]) for one in on]
    meant = int(original[1] < original[0])
    other = 1 - meant
    names = (first, second)
    return Bias(
        f"{texts.name}/{names[meant]} not {names[other]}",
        texts,
        probe,
        test,
        on[meant][test],
        original[meant],
        clean[meant].accuracy(x[test], on[meant][test]),
        clean[other],
        train,
        on[other][train],
    )
