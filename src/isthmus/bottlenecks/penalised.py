"""What bottlenecks share whose number of active latents a penalty sets."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Code
from isthmus.bottlenecks.sparse import Dictionary, DictionaryEncoder, FiringCounter
from isthmus.bottlenecks.start import Control, Start, dictionary_of, start_for
from isthmus.kernels import Preactivations


class Penalised(nn.Module):
    """A bottleneck whose L0 a penalty sets, with a coefficient that a ``control`` may find.

    In training it counts who fires, in ``counter``, and shows its codes to the control. A subclass
    says what the code is (:meth:`_code`), and how a model starts at the control's target
    (:meth:`_begin`).
    """

    def __init__(self, width: int, dead_after: int, control: Control | None) -> None:
        super().__init__()
        self.counter = FiringCounter(width, dead_after)
        self.control = control

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        code = self._code(h, h if sample else None)
        if sample and self.training:
            self.counter.count(code)
            if self.control is not None:
                self.control.measure(code)
        return code

    def _code(self, h: Preactivations, keep: Preactivations | None) -> Code:
        """The code of pre-activations; ``keep`` is what it holds for terms to look at."""
        raise NotImplementedError

    @torch.no_grad()
    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Start at the control's target, if there is a control."""
        if self.control is None:
            return
        start = start_for(model, x, self.control.target)
        self._begin(self.control, start, *dictionary_of(model))

    def _begin(
        self, control: Control, start: Start, encoder: DictionaryEncoder, dictionary: Dictionary
    ) -> None:
        """Set the parameters, and the control's first coefficient and spread."""
        raise NotImplementedError
