"""Targeted probe perturbation (TPP): one class taken out, and the others left alone."""

import numpy as np

from isthmus.dictionary_benchmark.ablated_probes import (
    COUNTS,
    difference,
    largest_effects,
    targeted_effects,
    without,
)
from isthmus.dictionary_benchmark.concept_probes import ConceptProbe
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.sparse_probing import Known, known_classes
from isthmus.dictionary_benchmark.task_protocol import (
    BenchmarkTask,
    NotMeasurable,
    Outcome,
    TaskMeasure,
    Units,
    means,
)


class ProbePerturbation(BenchmarkTask):
    """Karvonen et al. 2025 (SAEBench, arXiv:2503.09532)."""

    name = "tpp"
    title = "Targeted probe perturbation"
    about = (
        "Each class of a set of texts has a probe of the host's mean activations. The n latents "
        "that most speak for a class are set to zero in all texts: the score is how much accuracy "
        "its own probe loses, less what the others' lose in the mean."
    )
    measures = tuple(
        TaskMeasure(f"tpp_{n}", True, f"own loss less that of others, {n} latents set to zero")
        for n in COUNTS
    )
    main = ("tpp_10",)
    over = "classes"
    version = 1

    def premise(self, ground: Ground, point: str, seed: int) -> None:
        groups(ground, point, seed)

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """The score of each class."""
        values: dict[int, dict[str, float]] = {n: {} for n in COUNTS}
        for group in groups(ground, examined.point, seed):
            x = ground.pooled(group[0].texts, examined.point)
            codes = ground.pooled_codes(examined, group[0].texts)
            probes = [probe_of(ground, examined.point, seed, known) for known in group]
            effects = [
                targeted_effects(difference(codes, *known.split.fitted), examined.atoms, probe)
                for known, probe in zip(group, probes, strict=True)
            ]
            before = _accuracies(group, probes, x)
            for n in COUNTS:
                ablations = [largest_effects(one, n) for one in effects]
                after = [
                    _accuracies(group, probes, without(x, codes, examined.atoms, latents))
                    for latents in ablations
                ]
                scores = tpp_scores(before, np.array(after))
                for known, score in zip(group, scores.tolist(), strict=True):
                    values[n][known.name] = score
        figures: dict[str, Units] = {f"tpp_{n}": means(values[n]) for n in COUNTS}
        return Outcome(figures)


def tpp_scores(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Own loss less the mean of the others', ``(classes,)``.

    ``before`` ``(classes,)`` are the accuracies of the classes' probes, ``after[i, j]`` that of
    class j's with the latents of class i set to zero.
    """
    losses = before[None, :] - after
    diagonal = np.diag(losses)
    return diagonal - (losses.sum(1) - diagonal) / (len(before) - 1)


def groups(ground: Ground, point: str, seed: int) -> list[list[Known]]:
    """The classes that the host tells, by the attribute that has two of them or more."""
    by_attribute: dict[tuple[str, str], list[Known]] = {}
    for known in known_classes(ground, point, seed):
        by_attribute.setdefault((known.texts.name, known.attribute), []).append(known)
    large = [group for group in by_attribute.values() if len(group) > 1]
    if not large:
        raise NotMeasurable(
            f"not measurable on this host: no attribute has two classes that can be told from "
            f"{point} of {ground.host.name}"
        )
    return large


def probe_of(ground: Ground, point: str, seed: int, known: Known) -> ConceptProbe:
    """The probe of a class, fitted once for all dictionaries."""

    def fit() -> ConceptProbe:
        index, on = known.split.fitted
        return ConceptProbe.fit(ground.pooled(known.texts, point)[index], on)

    return ground.once(("probe", point, seed, known.name), fit)


def _accuracies(group: list[Known], probes: list[ConceptProbe], x: np.ndarray) -> np.ndarray:
    """Of each class's probe on its own test texts, ``(classes,)``."""
    return np.array([
        probe.accuracy(x[known.split.held[0]], known.split.held[1])
        for known, probe in zip(group, probes, strict=True)
    ])  # fmt: skip
