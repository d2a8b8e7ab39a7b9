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
from isthmus.evaluation.models import evaluate
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.rank import Spectrum, Spread, latent_rank, latent_std, numerical_rank
from isthmus.evaluation.reconstruction import FVU, ErrorPerElement, error_per_element, fvu
from isthmus.evaluation.registry import Batch, Measure, Setting, measures
from isthmus.evaluation.result import Result
from isthmus.evaluation.sparsity import Firing, dead_share, dense_share, l0
from isthmus.evaluation.table import as_table, render, with_estimators

__all__ = [
    "FVU", "Batch", "CodebookCounts", "ErrorPerElement", "Firing", "GaussianPosterior",
    "ImportanceBound", "Measure", "Moments", "Result", "Setting", "Spectrum", "Spread",
    "active_units", "as_table", "bits_per_dim", "codebook_use", "dead_share", "dense_share",
    "error_per_element", "evaluate", "fvu", "importance_bound", "kl_per_dimension", "l0",
    "latent_rank", "latent_std", "measures", "numerical_rank", "perplexity", "render",
    "with_estimators",
]  # fmt: skip
