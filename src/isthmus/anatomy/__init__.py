"""The parts that every autoencoder is made of; see ``docs/architecture.md``."""

from isthmus.anatomy.autoencoder import Autoencoder, Bottleneck, Prior
from isthmus.anatomy.code import Code, unstored
from isthmus.anatomy.code_kinds import (
    DiscreteCode,
    EmbeddingCode,
    GaussianCode,
    SparseCode,
    ThresholdCode,
    TokenCode,
)
from isthmus.anatomy.dictionary import (
    LinearDecoder,
    LinearEncoder,
    Residual,
    atoms,
    code_of,
    decodes_latents,
    linear_decoder,
    offset,
    read_rows,
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
    "Linear", "LinearDecoder", "LinearEncoder", "Losses", "Objective", "Output", "Prior", "Report",
    "Residual", "Scaler", "Scaling", "Schedule", "Signal", "Solver", "Source", "SparseCode",
    "Stairs", "Term", "ThresholdCode", "TokenCode", "View", "Weighted", "as_schedule", "atoms",
    "code_of", "decodes_latents", "linear_decoder", "offset", "preferred_order", "read_rows",
    "unstored",
]  # fmt: skip
