"""The parts that every autoencoder is made of; see ``docs/architecture.md``."""

from isthmus.anatomy.autoencoder import Autoencoder, Bottleneck, Prior
from isthmus.anatomy.code import (
    Code,
    DiscreteCode,
    EmbeddingCode,
    GaussianCode,
    SparseCode,
    ThresholdCode,
    TokenCode,
)
from isthmus.anatomy.likelihood import Bernoulli, Gaussian, Likelihood
from isthmus.anatomy.objective import MODEL, Losses, Objective, Term, Weighted
from isthmus.anatomy.output import Output, View
from isthmus.anatomy.scaler import Scaler, Scaling
from isthmus.anatomy.schedule import (
    Clock,
    Constant,
    Cosine,
    Linear,
    Schedule,
    Stairs,
    as_schedule,
)
from isthmus.anatomy.signal import Array, Kind, Signal
from isthmus.anatomy.solver import Report, Solver
from isthmus.anatomy.source import Source, preferred_order

__all__ = [
    "MODEL", "Array", "Autoencoder", "Bernoulli", "Bottleneck", "Clock", "Code", "Constant",
    "Cosine", "DiscreteCode", "EmbeddingCode", "Gaussian", "GaussianCode", "Kind", "Likelihood",
    "Linear", "Losses", "Objective", "Output", "Prior", "Report", "Scaler", "Scaling",
    "Schedule", "Signal", "Solver", "Source", "SparseCode", "Stairs", "Term", "ThresholdCode",
    "TokenCode", "View", "Weighted", "as_schedule", "preferred_order",
]  # fmt: skip
