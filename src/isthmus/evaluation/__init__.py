"""Measures: pure functions on arrays, by question, and ``evaluate`` for whole models.

Every measure returns a :class:`Result`. What is streamed is held in float64, and no value depends
on how the rows were cut into batches.
"""

from isthmus.evaluation.anomaly import auroc, average_precision, mean_shift, precision_at_n
from isthmus.evaluation.clustering import ari, clustering_accuracy, nmi
from isthmus.evaluation.codebook import CodebookCounts, codebook_use, perplexity
from isthmus.evaluation.dictionary import (
    antipodal_share,
    decoder_cosine,
    matched_cosine,
    mean_max_cosine,
    recovery,
)
from isthmus.evaluation.disentanglement import (
    DCI,
    InfoMEC,
    dci,
    explicitness,
    factor_vae_score,
    infomec,
    mig,
    mig_from_posterior,
    modularity,
    omes,
    sap,
    udr,
)
from isthmus.evaluation.feature_absorption import Absorption, absorption
from isthmus.evaluation.intervals import Estimate, over_seeds
from isthmus.evaluation.likelihood_bounds import (
    GaussianPosterior,
    ImportanceBound,
    active_units,
    bits_per_dim,
    importance_bound,
    kl_per_dimension,
)
from isthmus.evaluation.models import evaluate
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.neighbourhood import (
    continuity,
    density_kl,
    distance_rmse,
    mrre,
    neighbourhood,
    trustworthiness,
)
from isthmus.evaluation.norm_shrinkage import Shrinkage, norm_ratio, shrinkage, shrinkage_measure
from isthmus.evaluation.persistence import (
    Persistence,
    h0_distance,
    h0_persistence,
    total_persistence,
)
from isthmus.evaluation.probing import knn_probe, linear_probe
from isthmus.evaluation.rank import Spectrum, Spread, latent_rank, latent_std, numerical_rank
from isthmus.evaluation.reconstruction import FVU, ErrorPerElement, error_per_element, fvu
from isthmus.evaluation.registry import Measure, MeasuredBatch, MeasureOptions, measures
from isthmus.evaluation.result import Result
from isthmus.evaluation.results_table import as_table, render, with_estimators
from isthmus.evaluation.sample_quality import (
    density_and_coverage,
    frechet_distance,
    precision_and_recall,
)
from isthmus.evaluation.similarity import (
    cca,
    cka,
    matched_units,
    procrustes,
    pwcca,
    rsa,
    shape_distance,
    stitching,
    svcca,
    unit_pairs,
)
from isthmus.evaluation.sparsity import Firing, dead_share, dense_share, l0
from isthmus.evaluation.stability import seed_stability
from isthmus.evaluation.token_measures import TokenMeasures

__all__ = [
    "DCI",
    "FVU",
    "Absorption",
    "CodebookCounts",
    "ErrorPerElement",
    "Estimate",
    "Firing",
    "GaussianPosterior",
    "ImportanceBound",
    "InfoMEC",
    "Measure",
    "MeasureOptions",
    "MeasuredBatch",
    "Moments",
    "Persistence",
    "Result",
    "Shrinkage",
    "Spectrum",
    "Spread",
    "TokenMeasures",
    "absorption",
    "active_units",
    "antipodal_share",
    "ari",
    "as_table",
    "auroc",
    "average_precision",
    "bits_per_dim",
    "cca",
    "cka",
    "clustering_accuracy",
    "codebook_use",
    "continuity",
    "dci",
    "dead_share",
    "decoder_cosine",
    "dense_share",
    "density_and_coverage",
    "density_kl",
    "distance_rmse",
    "error_per_element",
    "evaluate",
    "explicitness",
    "factor_vae_score",
    "frechet_distance",
    "fvu",
    "h0_distance",
    "h0_persistence",
    "importance_bound",
    "infomec",
    "kl_per_dimension",
    "knn_probe",
    "l0",
    "latent_rank",
    "latent_std",
    "linear_probe",
    "matched_cosine",
    "matched_units",
    "mean_max_cosine",
    "mean_shift",
    "measures",
    "mig",
    "mig_from_posterior",
    "modularity",
    "mrre",
    "neighbourhood",
    "nmi",
    "norm_ratio",
    "numerical_rank",
    "omes",
    "over_seeds",
    "perplexity",
    "precision_and_recall",
    "precision_at_n",
    "procrustes",
    "pwcca",
    "recovery",
    "render",
    "rsa",
    "sap",
    "seed_stability",
    "shape_distance",
    "shrinkage",
    "shrinkage_measure",
    "stitching",
    "svcca",
    "total_persistence",
    "trustworthiness",
    "udr",
    "unit_pairs",
    "with_estimators",
]
