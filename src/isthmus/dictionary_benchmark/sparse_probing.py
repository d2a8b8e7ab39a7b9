"""Sparse probing: how well a few latents tell the classes of texts."""

from dataclasses import dataclass

import numpy as np

from isthmus.dictionary_benchmark.concept_probes import (
    Split,
    asked_classes,
    is_known,
    one_against_rest,
)
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.dictionary_benchmark.task_protocol import (
    BenchmarkTask,
    NotMeasurable,
    Outcome,
    TaskMeasure,
    Units,
    means,
)
from isthmus.evaluation import linear_probe

COUNTS = (1, 2, 5)
"""Latents that a probe has."""

STRENGTHS = (1.0, 0.1, 1e-2, 1e-3)
"""Penalties of a probe, one of which is chosen on training texts held out for it."""


@dataclass(frozen=True, eq=False)
class Known:
    """A class of texts against the rest, which the host's own activations tell."""

    texts: TextSet
    attribute: str
    label: str
    split: Split

    @property
    def name(self) -> str:
        """Set, attribute and class."""
        return f"{self.texts.name}/{self.attribute}/{self.label}"


class SparseProbing(BenchmarkTask):
    """Gurnee et al. 2023 (arXiv:2305.01610), as SAEBench asks it of dictionaries."""

    name = "sparse_probing"
    title = "Sparse probing"
    about = (
        "Codes are averaged over the tokens of a text. The k latents whose means differ most "
        "between a class and as many other texts are chosen on training texts, and a logistic "
        "probe of them is judged on others. Latents are scaled to variance 1, and the penalty is "
        "chosen on training texts: of an unscaled code it would depend on the code's unit."
    )
    measures = (
        *(
            TaskMeasure(
                f"accuracy_{k}", True, f"accuracy of a probe of {k} latent{'s' if k > 1 else ''}"
            )
            for k in COUNTS
        ),
    )
    main = ("accuracy_1", "accuracy_5")
    over = "classes"
    version = 1

    def premise(self, ground: Ground, point: str, seed: int) -> None:
        known_classes(ground, point, seed)

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """The accuracies of each class that the host's own activations tell."""
        values: dict[int, dict[str, float]] = {k: {} for k in COUNTS}
        for known in known_classes(ground, examined.point, seed):
            codes = ground.pooled_codes(examined, known.texts)
            index, on = known.split.fitted
            tests, test_on = known.split.held
            train, test = codes[index].tocsc(), codes[tests].tocsc()
            order = ranked_by_difference(_mean(train, on), _mean(train, ~on))
            for k in COUNTS:
                columns = order[:k]
                result = linear_probe(
                    train[:, columns].toarray(), on, test[:, columns].toarray(), test_on,
                    seeds=seed, strengths=STRENGTHS,
                )  # fmt: skip
                values[k][known.name] = result.value
        figures: dict[str, Units] = {f"accuracy_{k}": means(values[k]) for k in COUNTS}
        return Outcome(figures)


def ranked_by_difference(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Latents by falling ``|mean over positive - mean over negative|``; ties go by number."""
    return np.argsort(-np.abs(positive - negative), kind="stable")


def _mean(codes: object, rows: np.ndarray) -> np.ndarray:
    some = codes[np.flatnonzero(rows)]  # type: ignore[index]  # a sparse array
    return np.asarray(some.mean(0)).ravel()


def known_classes(ground: Ground, point: str, seed: int) -> list[Known]:
    """The classes that a probe of the host's activations tells, for all dictionaries alike.

    Raises :class:`NotMeasurable` where there are none.
    """
    classes = ground.once(("classes", point, seed), lambda: _known(ground, point, seed))
    if not classes:
        raise NotMeasurable(
            f"not measurable on this host: no class of the texts can be told from {point} of "
            f"{ground.host.name}"
        )
    return classes


def _known(ground: Ground, point: str, seed: int) -> list[Known]:
    classes = []
    for texts in ground.sets:
        x = ground.pooled(texts, point)
        for attribute, label in asked_classes(texts):
            split = one_against_rest(texts, attribute, label, seed)
            if is_known(x, split):
                classes.append(Known(texts, attribute, label, split))
    return classes
