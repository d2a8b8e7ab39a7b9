"""Prices of active latents, and the use of dead ones."""

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Output, SparseCode, Term, ThresholdCode
from isthmus.kernels import Preactivations, adaptive_decode, take_rows


class AuxK(Term):
    """How well the ``k_aux`` strongest dead latents explain what the others left over.

    ``|e - e^|^2 / elements`` with the error ``e = x - x^`` held fixed (Gao et al. 2024, appendix
    A.2). Zero where no latent is dead. Gradients reach the dead latents' encoder rows. The model's
    bottleneck has a ``counter`` that says which latents are dead.
    """

    name = "auxk"
    unit = "squared error per element, in the model's units"

    def __init__(self, k_aux: int) -> None:
        self.k_aux = k_aux

    def __call__(self, model: Autoencoder, out: Output) -> Tensor:
        code, weight = out.code, model.decoder.weight  # type: ignore[union-attr]
        assert isinstance(code, (SparseCode, ThresholdCode))
        assert isinstance(weight, Tensor)
        dead = model.bottleneck.counter.dead(out.clock).nonzero().flatten()  # type: ignore[attr-defined]
        if len(dead) == 0 or not isinstance(code.preactivations, Preactivations):
            return torch.zeros(len(out.x), device=out.x.device)
        values, indices = code.preactivations.of(dead).top(min(self.k_aux, len(dead)))
        error = (out.target - out.need_recon()).detach().flatten(1)
        explained = adaptive_decode(torch.relu(values), indices, take_rows(weight, dead))
        return (error - explained).square().mean(1)
