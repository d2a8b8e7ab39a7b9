"""Automatic interpretation: how well words for a latent tell where it fires."""

import tempfile
from pathlib import Path

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
from isthmus.interpretation.features.format import features_folder
from isthmus.interpretation.features.pipeline import text_features
from isthmus.interpretation.labels import Label, label
from isthmus.interpretation.labels.windows import firing_rates

LEAST = 15
"""Tokens of the text on which a latent has to be active, for its words to be judged on some."""

READ = 4
"""Times as many tokens as other tasks read: words are found on few examples of each latent."""

WINDOWS = 512
"""Random windows of the text that are kept with all that fires in them."""


class LabelScores(BenchmarkTask):
    """Detection of Paulo et al. 2024 (arXiv:2410.13928), by rules or by a language model."""

    name = "autointerp"
    title = "Automatic interpretation"
    about = (
        "Latents that are active on 15 tokens or more, of four times the running text, drawn by "
        "the seed, are explained on one half of its rows; on the other half words have to tell "
        "windows in which the latent is active from such in which it is not. By default explainer "
        "and judge are rules about tokens and their context, which need no other model, so that "
        "the score is of what can be said of the text nearby. Beside it the score of the same "
        "words given to other latents: what is above 0.5 there any words would have."
    )
    measures = (
        TaskMeasure("detection", True, "balanced accuracy of telling where a latent is active"),
        TaskMeasure("detection_shuffled", None, "the same with another latent's explanation"),
    )
    main = ("detection",)
    over = "latents"
    version = 2

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """The score of each latent that is explained."""
        tokens = ground.tokens(seed, READ)
        with tempfile.TemporaryDirectory(prefix="isthmus-") as place, notices.collected(quiet=True):
            text_features(
                ground.host, examined.point, examined.model, tokens, place,
                settings=Settings(windows=WINDOWS, seed=seed), progress=False,
            )  # fmt: skip
            latents = active_latents(Path(place), int(tokens.mask.sum()), seed)
            latents = sorted(latents[: ground.settings.latents])
            if len(latents) < 2:
                raise NotMeasurable(
                    f"not measurable of {examined.name}: {len(latents)} of its latents are active "
                    f"on {LEAST} tokens of the text; read more with --tokens"
                )
            labelling = label(
                place, ground.settings.explainer, ("detection",), latents, seed, False,
                control=True, write=False, **ground.settings.explainer_options,
            )  # fmt: skip
        scores = by_latent(labelling.labels)
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
            "detection_shuffled": means(by_latent(labelling.controls)),
        }
        return Outcome(figures, notes)


def active_latents(folder: Path, tokens: int, seed: int) -> list[int]:
    """The latents that are active on enough tokens, in an order drawn by the seed."""
    rates = firing_rates(features_folder(folder))
    often = [latent for latent, rate in sorted(rates.items()) if rate * tokens >= LEAST]
    order = np.random.default_rng([seed, 6000]).permutation(often)
    return [int(latent) for latent in order]


def by_latent(labels: list[Label]) -> dict[str, float]:
    """The scores there are, by latent."""
    return {f"latent {one.latent}": one.score for one in labels if one.score is not None}
