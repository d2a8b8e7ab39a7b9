"""Label the latents of a features folder and score the labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation import Result
from isthmus.interpretation.labels.chat import Spend
from isthmus.interpretation.labels.evidence import (
    SAMPLES,
    Evidence,
    Sample,
    for_explaining,
    for_scoring,
)
from isthmus.interpretation.labels.folder import blocks, explained_latents, read_table
from isthmus.interpretation.labels.methods import Explainer, Explanation, Judge, Rules
from isthmus.interpretation.labels.outside import Outside
from isthmus.interpretation.labels.scoring import (
    EXAMS,
    SCORERS,
    balanced_accuracy,
    contamination,
)
from isthmus.interpretation.labels.summary import mean_score
from isthmus.interpretation.labels.table import (
    CONTROLS,
    Label,
    features_folder,
    write_labels,
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
        found = {}
        for name in SCORERS:
            for what, labels in ((name, self.labels), (f"{name}_shuffled", self.controls)):
                scored = [x for x in labels if x.metric == name and x.score is not None]
                if scored:
                    found[what] = replace(mean_score(scored), name=what)
        return found


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
        for found, others in run.groups(
            every, isinstance(judging, Rules) if control is None else control
        ):
            labels += found
            controls += others
            if write:
                write_labels(place, found)
                write_labels(place, others, name=CONTROLS)
            done = len({x.latent for x in labels})
            bar.draw(done, done, "")
    spends = {id(x.spend): x.spend for x in (explaining, judging) if isinstance(x, Outside)}
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
    made: dict[str, Any] = {}
    for name in names:
        if name not in METHODS:
            raise unknown("method of labelling", name, METHODS)
        made[name] = Rules() if name == "rules" else Outside.open(name, folder, **options)
    explaining: Any = made[explainer] if isinstance(explainer, str) else explainer
    judging: Any = made[judge] if isinstance(judge, str) else judge
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
        self.rates = _rates(folder)

    def rng(self, latent: int, purpose: int) -> np.random.Generator:
        """What is drawn for a latent depends on nothing but the seed and the latent."""
        return np.random.default_rng((self.seed, latent, purpose))

    def groups(
        self, latents: Sequence[int], control: bool
    ) -> Iterator[tuple[list[Label], list[Label]]]:
        whole = isinstance(self.explainer, Rules) and isinstance(self.judge, Rules)
        for some, windows in blocks(self.folder, latents, self.seed):
            size = RULED if whole else GROUP
            for begin in range(0, len(some), size):
                part = some[begin : begin + size]
                shown = [
                    for_explaining(
                        windows, x, self.rng(x, 0), sample=self.sample, examples=self.examples
                    )
                    for x in part
                ]
                told = self.explainer.explain(shown)
                unseen = [
                    for_scoring(windows, x, self.rng(x, 1), examples=self.scored) for x in part
                ]
                labels = self.score(part, told, unseen)
                others: list[Label] = []
                if control and len(part) > 1:
                    ring = np.random.default_rng((self.seed, part[0], 2)).permutation(len(part))
                    moved = _moved(ring)
                    other = [
                        replace(told[i], detail={**told[i].detail, "label_of": part[i]})
                        for i in moved
                    ]
                    others = self.score(part, other, unseen)
                yield labels, others

    def score(
        self, latents: Sequence[int], told: Sequence[Explanation], unseen: Sequence[Evidence]
    ) -> list[Label]:
        found: list[Label] = []
        bare = [
            Label(x, e.text, self.method, None, "", e.examples, dict(e.detail))
            for x, e in zip(latents, told, strict=True)
        ]
        if not self.scorers:
            return bare
        for number, name in enumerate(self.scorers):
            exams = [
                EXAMS[name](e, u, self.rng(x, 3 + number))
                for x, e, u in zip(latents, told, unseen, strict=True)
            ]
            asked = [i for i, exam in enumerate(exams) if told[i].text and len(exam.truth)]
            answers = dict(
                zip(asked, self.judge.judge([exams[i].question for i in asked]), strict=True)
            )
            for i, (x, plain) in enumerate(zip(latents, bare, strict=True)):
                detail = dict(plain.detail)
                score = None
                if i in answers:
                    rng = self.rng(x, 9)
                    score, how = balanced_accuracy(exams[i].truth, answers[i], rng)
                    detail.update(how)
                if name == "detection":
                    detail.update(self.doubt(x, unseen[i]))
                found.append(replace(plain, score=score, metric=name, detail=detail))
        return found

    def doubt(self, latent: int, unseen: Evidence) -> dict[str, Any]:
        """How many of the silent windows may not be silent, where that is not known."""
        if unseen.windows.exact or not len(unseen.silent):
            return {}
        rate = self.rates.get(latent, float("nan"))
        if not np.isfinite(rate):
            return {}
        share = contamination(rate, unseen.windows.length[unseen.silent])
        return {"silent_unchecked": True, "expected_firing_in_silent": round(share, 4)}


def _moved(ring: np.ndarray) -> np.ndarray:
    """A permutation without fixed points: each member of a random ring gets the next one's."""
    other = np.empty_like(ring)
    other[ring] = np.roll(ring, 1)
    return other


def _rates(folder: Path) -> dict[int, float]:
    if not (folder / "latents.parquet").exists():
        return {}
    table = read_table(folder / "latents.parquet", ["latent", "rate"])
    return dict(zip(table["latent"].to_pylist(), table["rate"].to_pylist(), strict=True))
