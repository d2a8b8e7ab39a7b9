"""What bottlenecks share whose number of active latents a penalty sets."""

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Look, Part
from isthmus.bottlenecks.dictionary_start import Control, Start, dictionary_of, start_for
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.kernels import Preactivations
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder


class Penalised(Part):
    """A bottleneck whose L0 a penalty sets, with a coefficient that a ``control`` may find.

    In training ``counter`` counts who fires, and the control looks at the codes. A subclass
    says what the code is (:meth:`_code`), and how a model starts at the control's target
    (:meth:`_begin`).
    """

    def __init__(self, width: int, dead_after: int, control: Control | None) -> None:
        super().__init__()
        self.counter = FiringCounter(width, dead_after)
        self.control = control

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        return self._code(h, h if sample else None)

    def _code(self, h: Preactivations, keep: Preactivations | None) -> Code:
        """The code of pre-activations; ``keep`` is what it holds for terms to look at."""
        raise NotImplementedError

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start at the control's target, if there is a control."""
        if self.control is None:
            return
        self.begin(start_for(model, look.tensor, self.control.target), *dictionary_of(model))

    @torch.no_grad()
    def shift(self, model: Autoencoder, amount: Tensor) -> None:
        """Raise the cutoff of every latent by an amount: here by lowering the encoder's bias."""
        dictionary_of(model)[0].bias.sub_(amount)

    def begin(self, start: Start, encoder: DictionaryEncoder, dictionary: Dictionary) -> None:
        """Start at the control's target, from what a sample of the data says."""
        assert self.control is not None
        self._begin(self.control, start, encoder, dictionary)

    def _begin(
        self, control: Control, start: Start, encoder: DictionaryEncoder, dictionary: Dictionary
    ) -> None:
        """Set the parameters, and the control's first coefficient and spread."""
        raise NotImplementedError
