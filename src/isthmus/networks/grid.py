"""Convolutional networks between an image and a grid of latents, one for each place."""

from torch import Tensor, nn

from isthmus.anatomy import Signal
from isthmus.networks.conv import Stride, strides
from isthmus.networks.initialisation import init_hidden
from isthmus.networks.layers import image_shape
from isthmus.shapes import Float

KERNEL = 4


def grid_shape(signal: Signal, halvings: int = 2) -> tuple[int, int]:
    """Height and width of the grid that ``halvings`` strided layers leave of an image.

    Each halves a side of at least 4 pixels, rounding down, and keeps a shorter one.
    """
    rows, columns = _plan(signal, halvings)
    _, height, width = image_shape(signal, "convolutional")
    return (rows[-1].after if rows else height), (columns[-1].after if columns else width)


def _plan(signal: Signal, halvings: int) -> tuple[list[Stride], list[Stride]]:
    _, height, width = image_shape(signal, "convolutional")
    return strides(height, halvings, KERNEL), strides(width, halvings, KERNEL)


def _widths(channels: int, halvings: int) -> list[int]:
    """Channels after each strided layer: half as many until the last."""
    return [max(1, channels // 2)] * (halvings - 1) + [channels] * min(1, halvings)


class ResidualStack(nn.Module):
    """``blocks`` times ``x + conv1(relu(conv3(relu(x))))``, then a ReLU; the size is kept.

    The 3 x 3 convolutions have ``inner`` channels, the 1 x 1 ones lead back to ``channels``.
    """

    def __init__(self, channels: int, blocks: int, inner: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(channels, inner, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(inner, channels, 1),
            )
            for _ in range(blocks)
        )

    def forward(
        self, x: Float[Tensor, "rows channels height width"]
    ) -> Float[Tensor, "rows channels height width"]:
        for block in self.blocks:
            x = x + block(x)
        return x.relu()


class GridEncoder(nn.Module):
    """Strided convolutions and residual blocks: ``(rows, C, H, W)`` to ``(rows, places * dim)``.

    The places are those of :func:`grid_shape`, row by row, each with ``dim`` numbers in a row. The
    network of van den Oord, Vinyals, Kavukcuoglu (2017, section 4.1), in the sizes of the authors'
    example: layers of 4 x 4 and stride 2, the last with ``channels`` and those before it with half
    as many; a 3 x 3 layer; ``blocks`` residual blocks with ``inner`` channels within; at the end a
    1 x 1 layer.
    """

    def __init__(
        self,
        signal: Signal,
        dim: int,
        channels: int = 128,
        halvings: int = 2,
        blocks: int = 2,
        inner: int = 32,
    ) -> None:
        super().__init__()
        before, _, _ = image_shape(signal, "convolutional")
        layers: list[nn.Module] = []
        axes = zip(*_plan(signal, halvings), strict=True)
        for width, (row, column) in zip(_widths(channels, halvings), axes, strict=True):
            layers += [
                nn.Conv2d(
                    before,
                    width,
                    (row.kernel, column.kernel),
                    (row.step, column.step),
                    (row.padding, column.padding),
                ),
                nn.ReLU(),
            ]
            before = width
        self.layers = nn.Sequential(
            *layers,
            nn.Conv2d(before, channels, 3, padding=1),
            ResidualStack(channels, blocks, inner),
            nn.Conv2d(channels, dim, 1),
        )
        init_hidden(self, "relu")

    def forward(self, x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows out"]:
        return self.layers(x).movedim(1, -1).flatten(1)


class GridDecoder(nn.Module):
    """The mirror of :class:`GridEncoder`: from ``(rows, places * dim)`` to ``(rows, C, H, W)``.

    A 3 x 3 layer, residual blocks, and transposed convolutions of 4 x 4 and stride 2.
    """

    def __init__(
        self,
        signal: Signal,
        dim: int,
        channels: int = 128,
        halvings: int = 2,
        blocks: int = 2,
        inner: int = 32,
    ) -> None:
        super().__init__()
        image, _, _ = image_shape(signal, "convolutional")
        self.grid = (*grid_shape(signal, halvings), dim)
        layers: list[nn.Module] = []
        axes = list(zip(*_plan(signal, halvings), strict=True))
        widths = _widths(channels, halvings)
        for index in reversed(range(halvings)):
            row, column = axes[index]
            layers += [
                nn.ConvTranspose2d(
                    widths[index],
                    widths[index - 1] if index else image,
                    (row.kernel, column.kernel),
                    (row.step, column.step),
                    (row.padding, column.padding),
                    (row.output_padding, column.output_padding),
                ),
                nn.ReLU(),
            ]
        end = layers[:-1] or [nn.Conv2d(channels, image, 1)]
        self.layers = nn.Sequential(
            nn.Conv2d(dim, channels, 3, padding=1), ResidualStack(channels, blocks, inner), *end
        )
        init_hidden(self, "relu")

    def forward(
        self, z: Float[Tensor, "rows latent"]
    ) -> Float[Tensor, "rows channels height width"]:
        return self.layers(z.unflatten(1, self.grid).movedim(-1, 1))
