"""What bottlenecks share whose number of active latents a penalty sets."""

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Look, Part, View
from isthmus.bottlenecks.dictionary_start import (
    Control,
    Start,
    dictionary_of,
    fit_scale,
    look_for,
    start_at_median,
    start_for,
)
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.kernels import Preactivations
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder

_ROUNDS = 8
"""Times that the scale is fitted: a cutoff that does not grow with it is met after a few."""


class Penalised(Part):
    """A bottleneck whose L0 a penalty sets, with a coefficient that a ``control`` may find.

    In training ``counter`` counts who fires, and the control looks at the codes. A subclass
    says what the code is (:meth:`_code`), and how a model starts at the control's target
    (:meth:`_begin`). Without a control it starts with the cutoffs that it has.
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
        """Start from the data: at the control's target, if there is a control.

        Without one the decoder's bias starts at the geometric median, and the encoder is scaled so
        that the first reconstruction is best: of the many latents that are active at first a tied
        start overshoots, by about half the latents an element.
        """
        if self.control is None:
            start_at_median(model, look.x)
            self._fit(model, look)
            return
        self.begin(start_for(model, look.tensor, self.control.first), *dictionary_of(model))

    def _fit(self, model: Autoencoder, look: Look) -> None:
        """Scale the encoder for the first reconstruction, where the cutoffs are given."""
        some = look_for(model, look.x)
        for _ in range(_ROUNDS):
            h: Preactivations = model.encode_view(View(some))
            fit_scale(model, some, self._code(h, None))

    @torch.no_grad()
    def shift(self, model: Autoencoder, amount: Tensor) -> None:
        """Raise the cutoff of every latent by an amount: here by lowering the encoder's bias."""
        dictionary_of(model)[0].bias.sub_(amount)

    def begin(self, start: Start, encoder: DictionaryEncoder, dictionary: Dictionary) -> None:
        """Start at the control's target, from what a sample of the data says."""
        assert self.control is not None
        self._begin(self.control, start, encoder, dictionary)

    def restart(self, latents: Tensor, living: Tensor, own: Tensor) -> None:
        """Set what it has of ``latents`` ``(n,)`` anew: see the module ``resampling``.

        ``living`` is bool ``(width,)``, ``own`` ``(n,)`` the pre-activation of each on its row.
        """

    def _begin(
        self, control: Control, start: Start, encoder: DictionaryEncoder, dictionary: Dictionary
    ) -> None:
        """Set the parameters, and the control's first coefficient and spread."""
        raise NotImplementedError
