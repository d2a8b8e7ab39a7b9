"""Which latents of a linear dictionary are on: what a bottleneck says of itself."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Activation = Literal[
    "relu", "topk", "abstopk", "batchtopk", "jumprelu", "gated", "groupmax",
    "matching_pursuit", "orthogonal_pursuit", "signed_pursuit",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rule:
    """How latents come of pre-activations ``u`` ``(rows, width)`` where nothing is drawn.

    activation
        ``relu``: ``max(u, 0)``; ``topk``: the ``k`` largest of a row, rectified; ``abstopk``: the
        ``k`` largest by absolute value, signed; ``groupmax``: the largest of each of ``k`` groups
        of neighbours, rectified; ``batchtopk``: ``u`` where it exceeds one ``threshold`` for all,
        found while ``k`` a row were kept on average; ``jumprelu``: ``u`` where it exceeds the
        latent's ``threshold``; ``gated``: see ``log_scale``. The pursuits take ``k`` atoms one
        after the other, each for what those before it have left over of a row
        (orthogonal: with all coefficients fitted anew; signed: also against an atom).
    threshold
        ``(width,)``, not negative.
    weigh
        Whether ``u`` is multiplied by the lengths of the atoms where latents are compared, with
        each other or with the threshold.
    log_scale, bias
        Of gated latents, ``(width,)``: ``ReLU(exp(log_scale) (u - b_gate) + bias)`` where
        ``u > 0``, with the encoder's own bias ``b_gate``.
    tolerance, until_repeat
        Of a pursuit: it ends at the step that leaves no more than this length of a row (0: never),
        and, if so said, at the step that takes an atom again.
    """

    activation: Activation
    k: int | None = None
    threshold: Tensor | None = None
    weigh: bool = False
    log_scale: Tensor | None = None
    bias: Tensor | None = None
    tolerance: float = 0.0
    until_repeat: bool = False


class Ruled:
    """A bottleneck of which latents are on by a :class:`Rule`: inherited beside ``nn.Module``."""

    def rule(self) -> Rule:
        """The rule, with the bottleneck's own tensors."""
        raise NotImplementedError

    def times(self, factors: Tensor) -> None:
        """Follow latents that are now ``factors`` ``(width,)`` times as large, in place.

        The encoder's rows and biases have been multiplied, and the atoms divided. All factors are
        positive; an :class:`~isthmus.errors.IsthmusError` where other latents would be on.
        """
        raise NotImplementedError

    def lengthened(self, factor: Tensor) -> None:
        """Follow atoms that are all ``factor`` (a number) times as long, in place.

        Nothing, unless a threshold is compared with what latents contribute.
        """
