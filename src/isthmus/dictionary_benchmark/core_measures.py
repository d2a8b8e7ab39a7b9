"""Core measures: how many latents are active, what is rebuilt, and what the host then loses."""

import numpy as np

from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.task_protocol import BenchmarkTask, Outcome, TaskMeasure, Units
from isthmus.interpretation.fidelity import losses

_LOSS = "cross-entropy of the next token"


class CoreMeasures(BenchmarkTask):
    """Sparsity, error and loss recovered, on running text."""

    name = "core"
    title = "Core"
    about = (
        "On running text, special tokens left out. FVU is the squared error over the squared "
        "distance from the mean activation of the whole text. The CE score asks how much of what "
        "the host loses by ablation the reconstruction in its place gets back: against zero, "
        "as published, and against the mean activation, which is nearer to what can be seen there."
    )
    measures = (
        TaskMeasure("l0", None, "latents that are not zero, mean over tokens", "latents"),
        TaskMeasure("fvu", False, "sum |x - x^|^2 / sum |x - mean|^2"),
        TaskMeasure("cosine", True, "cosine of x and x^, mean over tokens", "cosine"),
        TaskMeasure("ce_score", True, f"(zero - spliced) / (zero - clean), each the {_LOSS}"),
        TaskMeasure("ce_score_mean", True, f"(mean - spliced) / (mean - clean), each the {_LOSS}"),
        TaskMeasure("added_ce", False, f"{_LOSS}: spliced less clean", "nats"),
        TaskMeasure("dead_share", False, "latents that are active on no token of the text"),
    )
    main = ("l0", "fvu", "ce_score_mean")
    over = "documents"
    version = 1

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """All of them, by document; of dead latents by latent."""
        running = ground.running(examined.point, seed)
        x, names = running.x.astype(np.float64), running.tokens.names
        recon = examined.rebuilt(running.x).astype(np.float64)
        codes = examined.codes(running.x)
        tokens = np.ones(len(x))
        error, spread = np.square(x - recon).sum(1), np.square(x - x.mean(0)).sum(1)
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(recon, axis=1)
        cosine = (x * recon).sum(1) / np.where(lengths > 0, lengths, 1.0)
        loss = losses(ground.host, examined.point, examined.model, running.tokens, seed=seed)
        fired = np.bincount(codes.indices, minlength=examined.latents) > 0
        by_token = {
            "l0": (np.diff(codes.indptr).astype(np.float64), tokens),
            "fvu": (error, spread),
            "cosine": (cosine, tokens),
        }
        by_prediction = {
            "ce_score": (loss.ce_zero - loss.ce_spliced, loss.ce_zero - loss.ce),
            "ce_score_mean": (loss.ce_mean - loss.ce_spliced, loss.ce_mean - loss.ce),
            "added_ce": (loss.ce_spliced - loss.ce, np.ones(len(loss.ce))),
        }
        figures: dict[str, Units] = {
            **{k: summed(*pair, running.document, names) for k, pair in by_token.items()},
            **{k: summed(*pair, loss.document, names) for k, pair in by_prediction.items()},
            "dead_share": {f"latent {i}": (float(not on), 1.0) for i, on in enumerate(fired)},
        }
        return Outcome(figures)


def summed(above: np.ndarray, below: np.ndarray, which: np.ndarray, names: list[str]) -> Units:
    """Both sums over the tokens of each document, ``which`` ``(tokens,)``, by its name."""
    sums = [
        np.bincount(which, column.astype(np.float64), minlength=len(names))
        for column in (above, below)
    ]
    seen = np.bincount(which, minlength=len(names)) > 0
    units: dict[str, tuple[float, float]] = {}
    for i in np.flatnonzero(seen).tolist():
        before = units.get(names[i], (0.0, 0.0))  # documents may share a name
        units[names[i]] = (before[0] + float(sums[0][i]), before[1] + float(sums[1][i]))
    return units
