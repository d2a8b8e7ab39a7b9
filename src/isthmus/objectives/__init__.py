"""Terms that several recipes share. Terms of one recipe only live on its page."""

from isthmus.objectives.atom_lengths import NormTanh, PreActivation
from isthmus.objectives.divergence import KL, kl_to_standard_normal
from isthmus.objectives.l0_control import ActiveLatents, Coefficient, Held, L0Control
from isthmus.objectives.prediction import CrossPrediction, cosine_distance
from isthmus.objectives.quantisation import Commit, Perplexity, Quantise
from isthmus.objectives.reconstruction import MSE, NegativeLogLikelihood, SquaredError
from isthmus.objectives.sparsity import (
    L0,
    L1,
    AuxK,
    GateError,
    GateL1,
    NormL1,
    dead_power,
    dead_used,
)

__all__ = [
    "KL", "L0", "L1", "MSE", "ActiveLatents", "AuxK", "Coefficient", "Commit", "CrossPrediction",
    "GateError", "GateL1", "Held", "L0Control", "NegativeLogLikelihood", "NormL1", "NormTanh",
    "Perplexity", "PreActivation", "Quantise", "SquaredError", "cosine_distance", "dead_power",
    "dead_used", "kl_to_standard_normal",
]  # fmt: skip
