"""The code of a joint embedding: features, and the projection that the objective compares."""

from torch import Tensor, nn

from isthmus.anatomy import EmbeddingCode
from isthmus.errors import IsthmusError
from isthmus.shapes import Float


class Projection(nn.Module):
    """The encoder's output ``(rows, latent)`` is the code; ``projector`` makes its embedding.

    The projector serves training alone (Chen et al. 2020, section 4.2). It normalises over the
    batch, so that one row in training is an :class:`IsthmusError`.
    """

    def __init__(self, projector: nn.Module) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, h: Float[Tensor, "rows latent"], *, sample: bool = False) -> EmbeddingCode:
        if self.training and len(h) < 2:
            raise IsthmusError(
                "a batch of one row has no spread: set batch_size to 2 or more, or lower accumulate"
            )
        return EmbeddingCode(h, self.projector(h))
