"""The parts that every autoencoder is made of; see ``docs/architecture.md``."""

from isthmus.anatomy import tree
from isthmus.anatomy.autoencoder import Autoencoder, Bottleneck, scaler_for
from isthmus.anatomy.axes import Array, Asked, Kind, Reading
from isthmus.anatomy.batch import MODEL, Batch, Given, Step
from isthmus.anatomy.code import Code, unstored
from isthmus.anatomy.code_kinds import (
    AnySparseCode,
    DiscreteCode,
    EmbeddingCode,
    GaussianCode,
    SparseCode,
    ThresholdCode,
    TokenCode,
)
from isthmus.anatomy.dictionary import (
    Concatenated,
    LinearDecoder,
    LinearEncoder,
    Residual,
    atoms,
    branch,
    code_of,
    decodes_latents,
    dictionaries,
    linear_decoder,
    norms,
    offset,
    read_rows,
)
from isthmus.anatomy.each import Each, Only, added, side_by_side, single
from isthmus.anatomy.evaluation_mode import evaluating
from isthmus.anatomy.expect import expect
from isthmus.anatomy.likelihood import Bernoulli, Gaussian, Likelihood
from isthmus.anatomy.objective import Losses, Objective, Term, Watch, Weighted, as_objective
from isthmus.anatomy.output import Output, View
from isthmus.anatomy.part import EMA, Look, Part, Prior, Sampler
from isthmus.anatomy.players import Player, Stage
from isthmus.anatomy.ragged import Ragged
from isthmus.anatomy.rule import Rule, Ruled
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
from isthmus.anatomy.signal import Signal
from isthmus.anatomy.signature import ask
from isthmus.anatomy.solver import ReportProgress, Solver
from isthmus.anatomy.source import Source
from isthmus.anatomy.target import Target
from isthmus.anatomy.tree import Rows, Tree

__all__ = [
    "EMA",
    "MODEL",
    "AnySparseCode",
    "Array",
    "Asked",
    "Autoencoder",
    "Batch",
    "Bernoulli",
    "Bottleneck",
    "Clock",
    "Code",
    "Concatenated",
    "Constant",
    "Cosine",
    "DiscreteCode",
    "Each",
    "EmbeddingCode",
    "Gaussian",
    "GaussianCode",
    "Given",
    "Kind",
    "Likelihood",
    "Linear",
    "LinearDecoder",
    "LinearEncoder",
    "Look",
    "Losses",
    "Objective",
    "Only",
    "Output",
    "Part",
    "Player",
    "Prior",
    "Ragged",
    "Reading",
    "ReportProgress",
    "Residual",
    "Rows",
    "Rule",
    "Ruled",
    "Sampler",
    "Scaler",
    "Scaling",
    "Schedule",
    "Signal",
    "Solver",
    "Source",
    "SparseCode",
    "Stage",
    "Stairs",
    "Step",
    "Target",
    "Term",
    "ThresholdCode",
    "TokenCode",
    "Tree",
    "View",
    "Watch",
    "Weighted",
    "added",
    "as_objective",
    "as_schedule",
    "ask",
    "atoms",
    "branch",
    "code_of",
    "decodes_latents",
    "dictionaries",
    "evaluating",
    "expect",
    "linear_decoder",
    "norms",
    "offset",
    "read_rows",
    "scaler_for",
    "side_by_side",
    "single",
    "tree",
    "unstored",
]  # fmt: skip
