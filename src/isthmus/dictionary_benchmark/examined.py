"""A dictionary under examination: the model, where it belongs, and its codes of texts."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from isthmus.anatomy import Autoencoder
from isthmus.evaluation.cosines import decoder_rows
from isthmus.evaluation.sparse_codes import sparse_codes
from isthmus.studies.fit_cache import weights_hash

BATCH = 2048
"""Rows that are encoded at once."""


@dataclass(eq=False)
class Examined:
    """One row of the benchmark.

    name
        As the table calls it.
    model
        Reads and rebuilds activations of ``point``, each latent by an atom of its own.
    control
        What is no dictionary of anybody's: "" for dictionaries, else what it is in words.
    """

    name: str
    model: Autoencoder
    point: str
    control: str = ""
    kept: dict[str, csr_array] = field(default_factory=dict)
    """Codes pooled over texts, by the name of the texts: see :func:`~.ground.pooled_codes`."""

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all weights."""
        return weights_hash(self.model)

    @cached_property
    def atoms(self) -> np.ndarray:
        """What one unit of each latent adds, float64 ``(latents, width)``, the host's units."""
        return decoder_rows(self.model).detach().cpu().double().numpy()

    @property
    def latents(self) -> int:
        """How many there are."""
        return len(self.atoms)

    def codes(self, x: np.ndarray) -> csr_array:
        """The codes of activations ``(rows, width)``: float64 ``(rows, latents)``, sparse."""
        return sparse_codes(self.model, x, BATCH)

    def rebuilt(self, x: np.ndarray) -> np.ndarray:
        """The reconstruction of activations ``(rows, width)``, float32."""
        return np.asarray(self.model.reconstruct(x), np.float32)
