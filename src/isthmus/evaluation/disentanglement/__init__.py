"""Disentanglement: how codes relate to known factors, or to the codes of other models.

Pure functions on arrays ``(codes, factors)`` that return a :class:`~isthmus.evaluation.Result` (or
three). No value depends on the order of the rows.
"""

from isthmus.evaluation.disentanglement.factor_vae import factor_vae_score
from isthmus.evaluation.disentanglement.importances import DCI, dci
from isthmus.evaluation.disentanglement.information_gap import mig, mig_from_posterior
from isthmus.evaluation.disentanglement.mec import InfoMEC, infomec
from isthmus.evaluation.disentanglement.modular import explicitness, modularity
from isthmus.evaluation.disentanglement.overlap import omes
from isthmus.evaluation.disentanglement.predictability import sap
from isthmus.evaluation.disentanglement.ranking import udr

__all__ = [
    "DCI", "InfoMEC", "dci", "explicitness", "factor_vae_score", "infomec", "mig",
    "mig_from_posterior", "modularity", "omes", "sap", "udr",
]  # fmt: skip
