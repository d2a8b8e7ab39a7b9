"""Measures: pure functions on arrays, by question, and ``evaluate`` for whole models.

Every measure returns a :class:`Result`. What is streamed is held in float64, and no value depends
on how the rows were cut into batches.
"""

from isthmus.evaluation.codebook import CodebookCounts, codebook_use, perplexity
from isthmus.evaluation.density import (
    GaussianPosterior,
    ImportanceBound,
    active_units,
    bits_per_dim,
    importance_bound,
    kl_per_dimension,
)
from isthmus.evaluation.dictionary import (
    antipodal_share,
    decoder_cosine,
    matched_cosine,
    mean_max_cosine,
    recovery,
)
from isthmus.evaluation.hierarchy import Absorption, absorption
from isthmus.evaluation.lengths import Shrinkage, norm_ratio, shrinkage, shrinkage_measure
from isthmus.evaluation.models import evaluate
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.rank import Spectrum, Spread, latent_rank, latent_std, numerical_rank
from isthmus.evaluation.reconstruction import FVU, ErrorPerElement, error_per_element, fvu
from isthmus.evaluation.registry import Batch, Measure, Setting, measures
from isthmus.evaluation.result import Result
from isthmus.evaluation.sparsity import Firing, dead_share, dense_share, l0
from isthmus.evaluation.stability import seed_stability
from isthmus.evaluation.table import as_table, render, with_estimators

__all__ = [
    "FVU", "Absorption", "Batch", "CodebookCounts", "ErrorPerElement", "Firing",
    "GaussianPosterior", "ImportanceBound", "Measure", "Moments", "Result", "Setting",
    "Shrinkage", "Spectrum", "Spread", "absorption", "active_units", "antipodal_share", "as_table",
    "bits_per_dim", "codebook_use", "dead_share", "decoder_cosine", "dense_share",
    "error_per_element", "evaluate", "fvu", "importance_bound", "kl_per_dimension", "l0",
    "latent_rank", "latent_std", "matched_cosine", "mean_max_cosine", "measures", "norm_ratio",
    "numerical_rank", "perplexity", "recovery", "render", "seed_stability", "shrinkage",
    "shrinkage_measure", "with_estimators",
]  # fmt: skip
