"""Terms that several recipes share. Terms of one recipe only live on its page."""

from isthmus.objectives.divergence import KL, kl_to_standard_normal
from isthmus.objectives.reconstruction import MSE, NegativeLogLikelihood, SquaredError
from isthmus.objectives.sparsity import AuxK

__all__ = [
    "KL", "MSE", "AuxK", "NegativeLogLikelihood", "SquaredError", "kl_to_standard_normal",
]  # fmt: skip
