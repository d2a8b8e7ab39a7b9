"""MDL: the bits that a token's code costs, sent as coarsely as a stated error allows."""

import math

import numpy as np

from isthmus.dictionary_benchmark.core_measures import summed
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.task_protocol import BenchmarkTask, Outcome, TaskMeasure
from isthmus.evaluation.description import coarsest_bins, row_bits

ALLOWED = 0.01
"""How much of the variance rounding may add to the error."""


class CodeLength(BenchmarkTask):
    """Ayonrinde, Pearce & Sharkey 2024 (Interpretability as Compression, arXiv:2410.11179)."""

    name = "mdl"
    title = "Description length"
    about = (
        "Latents are rounded to multiples of one bin width, the coarsest that raises the FVU by "
        f"no more than {ALLOWED:g}, and coded one by one at the entropy of what was seen. Two "
        "dictionaries are at equal terms where their FVU is the same, which stands in Core: a "
        "dictionary that leaves more out has less to send. Principal components at the same "
        "allowance, the control, are what a dense code needs."
    )
    measures = (
        TaskMeasure("bits", False, "entropy of the rounded code, mean over tokens", "bits a token"),
    )
    main = ("bits",)
    over = "documents"
    version = 1

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """The bits of each token, by document."""
        running = ground.running(examined.point, seed)
        x = running.x.astype(np.float64)
        codes = examined.codes(running.x)
        residual = x - examined.rebuilt(running.x)
        allowed = ALLOWED * float(np.square(x - x.mean(0)).mean())
        width = coarsest_bins(codes, allowed, examined.atoms, residual=residual)
        bits = np.zeros(len(x)) if math.isinf(width) else row_bits(codes, width)
        units = summed(bits, np.ones(len(x)), running.document, running.tokens.names)
        return Outcome({"bits": units})
