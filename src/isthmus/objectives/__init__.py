"""Terms that several recipes share. Terms of one recipe only live on its page."""

from isthmus.objectives.divergence import KL, kl_to_standard_normal
from isthmus.objectives.reconstruction import MSE, NegativeLogLikelihood, SquaredError

__all__ = ["KL", "MSE", "NegativeLogLikelihood", "SquaredError", "kl_to_standard_normal"]
