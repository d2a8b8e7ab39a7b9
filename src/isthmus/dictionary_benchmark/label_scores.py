"""Automatic interpretation: how well words for a latent tell where it fires."""

import tempfile

import numpy as np

from isthmus import notices
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.task_protocol import (
    BenchmarkTask,
    NotMeasurable,
    Outcome,
    TaskMeasure,
    means,
)
from isthmus.interpretation.features.collection import Settings
from isthmus.interpretation.features.pipeline import text_features
from isthmus.interpretation.labels import Label, label

LEAST = 15
"""Tokens of the text on which a latent has to be active, for its words to be judged on some."""

WINDOWS = 512
"""Random windows of the text that are kept with all that fires in them."""


class LabelScores(BenchmarkTask):
    """Detection of Paulo et al. 2024 (arXiv:2410.13928), by rules or by a language model."""

    name = "autointerp"
    title = "Automatic interpretation"
    about = (
        "Latents that are active on 15 tokens of the running text or more, drawn by the seed, are "
        "explained on one half of its rows; on the other half the explanation has to tell windows "
        "in which the latent is active from such in which it is not. By default explainer and "
        "judge are rules about tokens and their context, which need no other model, so that the "
        "score is of what can be said of the text nearby. Beside it the score of the same words "
        "given to other latents: what is above 0.5 there any words would have."
    )
    measures = (
        TaskMeasure("detection", True, "balanced accuracy of telling where a latent is active"),
        TaskMeasure("detection_shuffled", None, "the same with another latent's explanation"),
    )
    main = ("detection",)
    over = "latents"
    version = 1

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """The score of each latent that is explained."""
        running = ground.running(examined.point, seed)
        codes = examined.codes(running.x)
        counts = np.bincount(codes.indices[codes.data > 0], minlength=examined.latents)
        often = np.flatnonzero(counts >= LEAST)
        if len(often) < 2:
            raise NotMeasurable(
                f"not measurable of {examined.name}: {len(often)} of its latents are active on "
                f"{LEAST} tokens of the text; read more with --tokens"
            )
        rng = np.random.default_rng([seed, 6000])
        latents = np.sort(rng.permutation(often)[: ground.settings.latents]).tolist()
        with (
            tempfile.TemporaryDirectory(prefix="isthmus-") as folder,
            notices.collected(quiet=True),
        ):
            text_features(
                ground.host, examined.point, examined.model, running.tokens, folder,
                settings=Settings(windows=WINDOWS, seed=seed), progress=False,
            )  # fmt: skip
            found = label(
                folder, ground.settings.explainer, ("detection",), latents, seed, False,
                control=True, write=False, **ground.settings.explainer_options,
            )  # fmt: skip
        scores = by_latent(found.labels)
        if not scores:
            raise NotMeasurable(
                f"not measurable of {examined.name}: no latent has windows to be judged on; read "
                "more with --tokens"
            )
        notes: tuple[str, ...] = ()
        if len(scores) < len(latents):
            notes = (
                f"of {len(latents)} latents of {examined.name} {len(scores)} could be judged with "
                f"seed {seed}: the others are active in every window of the text",
            )
        figures = {
            "detection": means(scores),
            "detection_shuffled": means(by_latent(found.controls)),
        }
        return Outcome(figures, notes)


def by_latent(labels: list[Label]) -> dict[str, float]:
    """The scores there are, by latent."""
    return {f"latent {one.latent}": one.score for one in labels if one.score is not None}
