"""Prices of active latents, and the use of dead ones."""

import math

import torch
from torch import Tensor

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    Output,
    SparseCode,
    Term,
    branch,
    dictionaries,
    norms,
)
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.bottlenecks.jumprelu import HeavisideStep, JumpReLUBottleneck
from isthmus.kernels import Preactivations, adaptive_decode, take_at, take_rows
from isthmus.networks.dictionary import Dictionary
from isthmus.ranks import counted, shard_held, summed


class L1(Term):
    """``|z|_1``, the sum of the active latents' sizes."""

    name = "l1"
    unit = "sum of the latents, in the model's units"
    by_latent = ()
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return summed(out.code_as(AnySparseCode, self).entries.abs().sum(1))


class NormL1(Term):
    """``sum_i |z_i| sum_l |W_dec,i^l|``: a latent pays for every layer that it writes to.

    The lengths of its atoms add up over the layers (Lindsey et al. 2024, "Setup"), which lets some
    of them go to zero.
    """

    name = "l1"
    unit = "sum of the latents times the lengths of their atoms, in the model's units"
    by_latent = ()
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code, lengths = out.code_as(AnySparseCode, self), norms(model)
        if isinstance(code, SparseCode):
            return summed((code.values.abs() * take_at(lengths, code.indices)).sum(1))
        return summed(code.z.abs() @ lengths)


class L0(Term):
    """The number of active latents, with a gradient to learnt thresholds only.

    The gradient is the straight-through estimate of Rajamanoharan et al. 2024, equation 12.
    """

    name = "l0"
    unit = "active latents"
    by_latent = ()
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(AnySparseCode, self)
        bottleneck = model.part_as("bottleneck", JumpReLUBottleneck, self)
        assert code.gates is not None
        active: Tensor = HeavisideStep.apply(*code.gates, bottleneck.width_of_kernel)  # type: ignore[no-untyped-call]
        return summed(active.sum(1))


class GateL1(Term):
    """``|ReLU(pi)|_1``, the penalty on the gates (Rajamanoharan et al. 2024, equation 8).

    With ``weigh`` a gate counts times the length of its atom, which is then free.
    """

    name = "l1"
    unit = "sum of the gates, in the model's units"
    by_latent = ()
    rebuilds = False

    def __init__(self, *, weigh: bool = False) -> None:
        self.weigh = weigh

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        gate = _gate(out, self)
        if not self.weigh:
            return summed(gate.sum(1))
        lengths = norms(model)
        if isinstance(out.code, SparseCode):
            return summed((gate * take_at(lengths, out.code.indices)).sum(1))
        return summed(gate @ lengths)


class GateError(Term):
    """``|x - x^(ReLU(pi))|^2``: how well the open gates themselves rebuild, decoder held fixed.

    It keeps the gates truthful (Rajamanoharan et al. 2024, equation 8): no gradient reaches the
    decoder's weight or bias through it.
    """

    name = "gate_error"
    unit = "squared error per example, in the model's units"
    by_latent = ()
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        dictionary, gate = model.part_as("decoder", Dictionary, self), _gate(out, self)
        weight, bias = dictionary.weight.detach(), dictionary.bias.detach()
        if isinstance(out.code, SparseCode):
            flat = summed(adaptive_decode(gate, out.code.indices, weight)) + bias
        elif shard_held() is not None:
            flat = summed(gate @ weight) + bias
        else:
            flat = torch.addmm(bias, gate, weight)
        return (out.target.flatten(1) - flat).square().sum(1)


def dead_used(dictionary: Dictionary) -> int:
    """How many dead latents AuxK uses per example by default: half the elements of a row.

    The rule of Gao et al. 2024, appendix A.1; at most as many as there are latents.
    """
    width, elements = dictionary.weight.shape
    return min(width, max(1, elements // 2))


def dead_power(dictionary: Dictionary) -> int:
    """As :func:`dead_used`, as the power of two that is nearest in proportion: 512 for 768."""
    width, elements = dictionary.weight.shape
    return min(width, 2 ** max(0, round(math.log2(elements / 2))))


def _gate(out: Output, asker: Term) -> Tensor:
    """The rectified gates of a gated bottleneck's code."""
    gates = out.code_as(AnySparseCode, asker).gates
    assert gates is not None
    (gate,) = gates
    return gate


class AuxK(Term):
    """How well the ``k_aux`` strongest dead latents explain what the others left over.

    ``|e - e^|^2 / elements`` with the error ``e = x - x^`` held fixed (Gao et al. 2024, appendix
    A.2). With ``magnitude`` the strongest are those largest by absolute value, and keep their
    signs; else the largest, rectified. With ``weigh`` they are compared times the lengths of their
    atoms. Of several dictionaries the error is that of all. With ``relative`` it is a share
    of the mean square of ``e`` over the batch, as in the authors' code (openai/sparse_autoencoder),
    and in proportion to the dead where they are fewer than ``k_aux``, as in sparsify: its weight
    then means the same however little is left over. Zero where no latent is dead. Gradients reach
    the dead latents' encoder rows. The model's bottleneck has a ``counter`` that says which
    latents are dead.
    """

    name = "auxk"
    unit = "squared error per element, in the model's units or as a share of the residual's"
    by_latent = ()

    def __init__(
        self, k_aux: int, *, magnitude: bool = False, weigh: bool = False, relative: bool = False
    ) -> None:
        self.k_aux, self.magnitude, self.weigh = k_aux, magnitude, weigh
        self.relative = relative

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(AnySparseCode, self)
        counter = model.part_as("bottleneck.counter", FiringCounter, self)
        dead = counter.dead(out.clock).nonzero().flatten()
        count = counted(len(dead))
        if count == 0 or not isinstance(code.preactivations, Preactivations):
            return torch.zeros(out.rows, device=out.device)
        k = min(self.k_aux, count)
        among = norms(model).detach()[dead] if self.weigh else None
        values, indices = code.preactivations.of(dead).top(
            k, magnitude=self.magnitude, priority=among
        )
        values = values if self.magnitude else torch.relu(values)
        error, left, whole = out.error(), [], []
        for name, dictionary in dictionaries(model).items():
            residual = -branch(error, name).detach().flatten(1)
            if len(dead):
                part = adaptive_decode(values, indices, take_rows(dictionary.atoms(), dead))
            else:  # the other ranks' alone
                part = torch.zeros_like(residual)
            explained = summed(part)
            left.append((residual - explained).square())
            whole.append(residual)
        rows = left[0].mean(1) if len(left) == 1 else torch.cat(left, 1).mean(1)
        if not self.relative:
            return rows
        size = (whole[0] if len(whole) == 1 else torch.cat(whole, 1)).square().mean()
        share = min(1.0, count / self.k_aux)
        return share * rows / size.clamp_min(torch.finfo(size.dtype).tiny)
