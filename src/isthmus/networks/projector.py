"""The projector between a representation and the embedding that a joint objective compares."""

from collections.abc import Sequence

from torch import Tensor, nn

from isthmus.networks.layers import dense_stack, sizes
from isthmus.shapes import Float


class Projector(nn.Module):
    """Linear, batch norm and ReLU for each hidden width, then linear.

    From ``(rows, in_dim)`` to ``(rows, out_dim)``.

    Barlow Twins (Zbontar et al. 2021, section 2.2) has two hidden layers as wide as the output
    (8192). No layer has a bias: batch statistics are removed after each, the last included, by
    the objectives that use it. ``out_dim`` is the last hidden width unless given.
    """

    def __init__(
        self, in_dim: int, hidden: Sequence[int] = (512, 512), out_dim: int | None = None
    ) -> None:
        super().__init__()
        widths = (in_dim, *sizes("hidden", hidden, least=1))
        self.out_dim = out_dim or widths[-1]
        self.layers = nn.Sequential(
            *dense_stack(widths, "relu", "batch"), nn.Linear(widths[-1], self.out_dim, bias=False)
        )

    def forward(self, z: Float[Tensor, "rows width"]) -> Float[Tensor, "rows out"]:
        return self.layers(z)
