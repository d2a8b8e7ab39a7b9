"""The term: an error that a few wild values do not govern."""

from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Output, Term


class Huber(Term):
    """Squared error up to ``delta`` and linear beyond it (Huber 1964), a mean over elements."""

    name = "huber"
    unit = "squared error per element, linear beyond delta"

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        loss = F.huber_loss(out.need_recon(), out.target, reduction="none", delta=self.delta)
        return loss.flatten(1).mean(1)
