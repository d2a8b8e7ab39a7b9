"""Prices of latents by the lengths of their atoms, which are then free to be of any."""

import torch
from torch import Tensor

from isthmus.anatomy import AnySparseCode, Autoencoder, Output, SparseCode, Term, norms
from isthmus.bottlenecks.jumprelu import JumpReLUBottleneck
from isthmus.kernels import take_at
from isthmus.ranks import summed


class NormTanh(Term):
    """``sum_i tanh(c |z_i| |W_i|)``: a price that no longer rises for latents that are surely on.

    For large latents it counts them, and shrinks none (Ameisen et al. 2025, "Circuit Tracing",
    appendix D; Conerly et al. 2025, "Dictionary Learning Optimization Techniques").
    """

    name = "tanh"
    unit = "active latents, as far as the hyperbolic tangent counts them"
    by_latent = ()
    rebuilds = False

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code, lengths = out.code_as(AnySparseCode, self), norms(model)
        # At zero the derivative is that of a latent that goes on: thresholds learn from it what
        # latents just below them would cost.
        sizes = torch.where(code.entries < 0, -code.entries, code.entries)
        if isinstance(code, SparseCode):
            lengths = take_at(lengths, code.indices)
        return summed(torch.tanh(self.scale * sizes * lengths).sum(1))


class PreActivation(Term):
    """``sum_i ReLU(theta_i - u_i) |W_i|``: a pull on latents that are off, so that none stays dead.

    ``theta`` are learnt thresholds where there are any, else zero (Conerly et al. 2025, "Dictionary
    Learning Optimization Techniques"). It needs every pre-activation.
    """

    name = "preactivation"
    unit = "sum of what latents lack, times the lengths of their atoms, in the model's units"
    by_latent = ()
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(AnySparseCode, self)
        u, cutoff = code.preactivations.dense(), torch.zeros(())
        if isinstance(model.bottleneck, JumpReLUBottleneck):
            cutoff = model.bottleneck.log_threshold.exp()
        return summed(torch.relu(cutoff.to(u) - u) @ norms(model).to(u))
