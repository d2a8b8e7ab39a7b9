"""What SCR and TPP share: which latents a probe rests on, and texts without these latents.

The atoms are fixed, so that leaving latents out of each token's reconstruction (the error kept)
and averaging over tokens is leaving their mean codes out of the mean activation.
"""

import numpy as np
from scipy.sparse import csr_array

from isthmus.dictionary_benchmark.concept_probes import ConceptProbe

COUNTS = (2, 5, 10, 20, 50)
"""Latents that are ablated."""


def difference(codes: csr_array, index: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Mean code of positive texts less that of negative ones, float64 ``(latents,)``."""
    means = [np.asarray(codes[index[some]].mean(0)).ravel() for some in (on, ~on)]
    return means[0] - means[1]


def largest_effects(effects: np.ndarray, count: int) -> np.ndarray:
    """The latents of the largest effects above zero, at most so many; ties go by number."""
    order = np.argsort(-effects, kind="stable")[:count]
    return order[effects[order] > 0]


def spurious_effects(gap: np.ndarray, atoms: np.ndarray, probe: ConceptProbe) -> np.ndarray:
    """``|(mean difference)_j (w . atom_j)|``: SCR's effect of each latent on a probe's logit."""
    return np.abs(gap * (atoms @ probe.direction))


def targeted_effects(gap: np.ndarray, atoms: np.ndarray, probe: ConceptProbe) -> np.ndarray:
    """``max((mean difference)_j, 0) (w . atom_j)``: TPP's effect, whose sign is kept."""
    return np.maximum(gap, 0.0) * (atoms @ probe.direction)


def without(x: np.ndarray, codes: csr_array, atoms: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Mean activations ``(texts, width)`` with some latents set to zero, the error kept."""
    part: np.ndarray = codes.tocsc()[:, latents].toarray()
    return x - part @ atoms[latents]
