"""Label the latents of a features folder and score the labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation import Result
from isthmus.interpretation.features.format import features_folder
from isthmus.interpretation.labels.chat import Spend
from isthmus.interpretation.labels.evidence import (
    SAMPLES,
    Evidence,
    Sample,
    for_explaining,
    for_scoring,
)
from isthmus.interpretation.labels.explainers import (
    ChatLabeller,
    Explainer,
    Explanation,
    Judge,
    Rules,
)
from isthmus.interpretation.labels.scoring import (
    EXAMS,
    SCORERS,
    balanced_accuracy,
    contamination,
    mean_score,
)
from isthmus.interpretation.labels.table import CONTROLS, Label, write_labels
from isthmus.interpretation.labels.windows import (
    explained_latents,
    firing_rates,
    read_windows,
)
from isthmus.training.progress import ProgressBar, Show

METHODS = ("rules", "endpoint", "local")

GROUP, RULED = 64, 512
"""Latents that are labelled together and then written: by a language model, and by rules."""


@dataclass(frozen=True, eq=False)
class Labelling:
    """What :func:`label` found.

    ``labels`` has one entry for each latent and scorer, in this order, ``controls`` the scores of
    the same labels given to other latents; ``spend`` is what the language models cost, None for
    rules.
    """

    labels: list[Label]
    controls: list[Label]
    spend: Spend | None = None

    def summary(self) -> dict[str, Result]:
        """Mean score over latents for each scorer, and for its control, with intervals.

        A scorer that had no windows for any latent is left out.
        """
        means = {}
        for name in SCORERS:
            for what, labels in ((name, self.labels), (f"{name}_shuffled", self.controls)):
                scored = [x for x in labels if x.metric == name and x.score is not None]
                if scored:
                    means[what] = replace(mean_score(scored), name=what)
        return means


def label(
    folder: str | Path,
    explainer: str | Explainer = "rules",
    scorers: Sequence[str] = SCORERS,
    latents: Sequence[int] | None = None,
    seed: int = 0,
    progress: Show = "auto",
    *,
    judge: str | Judge | None = None,
    sample: Sample = "deciles",
    examples: int = 40,
    scored: int = 50,
    control: bool | None = None,
    write: bool = True,
    **options: Any,
) -> Labelling:
    """Say what latents fire on, and score that on text that the explainer never saw.

    Reads ``examples.parquet`` and ``latents.parquet`` of a features folder (or of ``features`` in
    the folder of a run) and adds to ``labels.parquet`` there; scores of shuffled labels go to
    ``controls.parquet``. With language models, answers are kept in ``label_cache.jsonl``: a run
    that was cut off goes on where it was, and asks nothing twice.

    explainer, judge
        ``rules`` (no model), ``endpoint`` (any that speaks OpenAI's protocol), ``local`` (a causal
        language model by :func:`isthmus.language.open_model`), or an object of the protocol. The
        judge is the explainer unless said.
    scorers
        Of ``detection`` (which windows make it fire) and ``fuzzing`` (which highlighted tokens are
        right): balanced accuracies, 0.5 is chance (Paulo et al. 2024, 2410.13928).
    latents
        Numbers of latents; those without examples are left out. All by default.
    sample
        ``deciles``: explainer's examples evenly from all groups; ``top``: the strongest only.
    examples, scored
        Most windows of a latent for the explainer, and for each score.
    control
        Also score each label on the windows of another latent, drawn at random; by default for
        rules only, as it doubles what a language model is asked.
    options
        Of ``endpoint`` and ``local``: see :class:`~isthmus.interpretation.labels.endpoint.Endpoint`
        and :class:`~isthmus.interpretation.labels.local.Local`.

    Raises :class:`~isthmus.errors.IsthmusError` where a row of text is in both parts, and
    :class:`~isthmus.errors.MissingExtra` without pyarrow.
    """
    for name in scorers:
        if name not in EXAMS:
            raise unknown("scorer", name, EXAMS)
    if sample not in SAMPLES:
        raise unknown("sample of examples", sample, SAMPLES)
    place = features_folder(folder)
    explaining, judging = _roles(explainer, judge, place, options)
    run = _Run(place, explaining, judging, scorers, seed, sample, examples, scored)
    every = explained_latents(place, latents)
    labels: list[Label] = []
    controls: list[Label] = []
    with ProgressBar(f"labels by {run.method}", len(every), "latents", progress) as bar:
        for scored_labels, shuffled_labels in run.groups(
            every, isinstance(judging, Rules) if control is None else control
        ):
            labels += scored_labels
            controls += shuffled_labels
            if write:
                write_labels(place, scored_labels)
                write_labels(place, shuffled_labels, name=CONTROLS)
            done = len({x.latent for x in labels})
            bar.draw(done, done, "")
    spends = {id(x.spend): x.spend for x in (explaining, judging) if isinstance(x, ChatLabeller)}
    labels, controls = (sorted(some, key=lambda x: x.key) for some in (labels, controls))
    return Labelling(labels, controls, sum(spends.values(), Spend()) if spends else None)


def _roles(
    explainer: str | Explainer, judge: str | Judge | None, folder: Path, options: dict[str, Any]
) -> tuple[Explainer, Judge]:
    names = {x for x in (explainer, judge) if isinstance(x, str)}
    if options and not names & {"endpoint", "local"}:
        raise IsthmusError(
            f"option {sorted(options)[0]!r} belongs to the methods 'endpoint' and 'local': name "
            "one of them"
        )
    if {"endpoint", "local"} <= names:
        raise IsthmusError("options cannot serve two models: build one of them and pass it")
    labellers: dict[str, Any] = {}
    for name in names:
        if name not in METHODS:
            raise unknown("method of labelling", name, METHODS)
        labellers[name] = Rules() if name == "rules" else ChatLabeller.open(name, folder, **options)
    explaining: Any = labellers[explainer] if isinstance(explainer, str) else explainer
    judging: Any = labellers[judge] if isinstance(judge, str) else judge
    if judging is None:
        if not hasattr(explaining, "judge"):
            raise IsthmusError(f"{explaining.name!r} only explains: name a judge, too")
        judging = explaining
    return explaining, judging


class _Run:
    def __init__(
        self,
        folder: Path,
        explainer: Explainer,
        judge: Judge,
        scorers: Sequence[str],
        seed: int,
        sample: Sample,
        examples: int,
        scored: int,
    ) -> None:
        self.folder, self.explainer, self.judge = folder, explainer, judge
        self.scorers, self.seed, self.sample = tuple(scorers), seed, sample
        self.examples, self.scored = examples, scored
        self.method = explainer.name + ("/top" if sample == "top" else "")
        if judge.name != explainer.name:
            self.method += f" judged by {judge.name}"
        self.rates = firing_rates(folder)

    def rng(self, latent: int, purpose: int) -> np.random.Generator:
        """What is drawn for a latent depends on nothing but the seed and the latent."""
        return np.random.default_rng((self.seed, latent, purpose))

    def groups(
        self, latents: Sequence[int], control: bool
    ) -> Iterator[tuple[list[Label], list[Label]]]:
        """The labels of some latents at a time, and the scores of these labels on other latents."""
        by_rules = isinstance(self.explainer, Rules) and isinstance(self.judge, Rules)
        size = RULED if by_rules else GROUP
        for part, windows in read_windows(self.folder, latents, self.seed):
            for begin in range(0, len(part), size):
                group = part[begin : begin + size]
                for_explainer = [
                    for_explaining(
                        windows, x, self.rng(x, 0), sample=self.sample, examples=self.examples
                    )
                    for x in group
                ]
                explanations = self.explainer.explain(for_explainer)
                for_judge = [
                    for_scoring(windows, x, self.rng(x, 1), examples=self.scored) for x in group
                ]
                labels = self.score(group, explanations, for_judge)
                controls: list[Label] = []
                if control and len(group) > 1:
                    shuffled = self.shuffled(group, explanations)
                    controls = self.score(group, shuffled, for_judge)
                yield labels, controls

    def shuffled(
        self, latents: Sequence[int], explanations: Sequence[Explanation]
    ) -> list[Explanation]:
        """For each latent the explanation of another one, which ``detail`` names."""
        ring = np.random.default_rng((self.seed, latents[0], 2)).permutation(len(latents))
        return [
            replace(explanations[i], detail={**explanations[i].detail, "label_of": latents[i]})
            for i in derangement(ring)
        ]

    def score(
        self,
        latents: Sequence[int],
        explanations: Sequence[Explanation],
        for_judge: Sequence[Evidence],
    ) -> list[Label]:
        """A label for each latent and scorer; one without a score where there is no scorer."""
        unscored = [
            Label(x, e.text, self.method, None, "", e.examples, dict(e.detail))
            for x, e in zip(latents, explanations, strict=True)
        ]
        if not self.scorers:
            return unscored
        labels: list[Label] = []
        for number, name in enumerate(self.scorers):
            exams = [
                EXAMS[name](explanation, evidence, self.rng(x, 3 + number))
                for x, explanation, evidence in zip(latents, explanations, for_judge, strict=True)
            ]
            judged = [i for i, exam in enumerate(exams) if explanations[i].text and len(exam.truth)]
            answers = dict(
                zip(judged, self.judge.judge([exams[i].question for i in judged]), strict=True)
            )
            for i, (x, label) in enumerate(zip(latents, unscored, strict=True)):
                detail = dict(label.detail)
                score = None
                if i in answers:
                    score, how = balanced_accuracy(exams[i].truth, answers[i], self.rng(x, 9))
                    detail.update(how)
                if name == "detection":
                    detail.update(self.doubt(x, for_judge[i]))
                labels.append(replace(label, score=score, metric=name, detail=detail))
        return labels

    def doubt(self, latent: int, evidence: Evidence) -> dict[str, Any]:
        """How many of the silent windows may not be silent, where that is not known."""
        if evidence.windows.exact or not len(evidence.silent):
            return {}
        rate = self.rates.get(latent, float("nan"))
        if not np.isfinite(rate):
            return {}
        share = contamination(rate, evidence.windows.length[evidence.silent])
        return {"silent_unchecked": True, "expected_firing_in_silent": round(share, 4)}


def derangement(ring: np.ndarray) -> np.ndarray:
    """A permutation without fixed points: each member of a random ring gets the next one's."""
    permutation = np.empty_like(ring)
    permutation[ring] = np.roll(ring, 1)
    return permutation
