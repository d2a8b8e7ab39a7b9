"""What sparse dictionaries share: the linear encoder and decoder, and who fired when."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import (
    Autoencoder,
    Code,
    LinearDecoder,
    LinearEncoder,
    Part,
    Residual,
    SparseCode,
    linear_decoder,
)
from isthmus.kernels import (
    Preactivations,
    RowGradient,
    adaptive_decode,
    preactivations_of,
    residual,
)
from isthmus.networks.main_memory import check_room
from isthmus.ranks import once, shard_held, summed


class Dictionary(LinearDecoder, Part):
    """A linear decoder ``z W + b`` whose atoms are the rows of ``weight`` ``(width, d)``.

    With ``unit`` (the default) rows keep norm 1: the gradient's part along a row is removed before
    each update, and the row is normalised after it (Gao et al. 2024, section 2.2, after
    Bricken et al. 2023). A :class:`SparseCode` is decoded without building it densely.
    """

    by_latent = ("weight",)

    def __init__(self, width: int, shape: tuple[int, ...], *, unit: bool = True) -> None:
        super().__init__()
        self.shape, self.unit = shape, unit
        d = torch.Size(shape).numel()
        check_room(width, d)
        self.weight = nn.Parameter(F.normalize(torch.randn(width, d), dim=1))
        self.bias = nn.Parameter(torch.zeros(d))

    def forward(self, *, code: Code) -> Tensor:
        return self.decode(code)

    def decode(self, code: Code) -> Tensor:
        """The reconstruction, ``(rows, *shape)``, in the model's units."""
        if isinstance(code, SparseCode):
            flat = summed(adaptive_decode(code.values, code.indices, self.weight)) + once(self.bias)
        elif shard_held() is not None:
            flat = summed(code.z @ self.weight) + once(self.bias)
        else:
            flat = torch.addmm(self.bias, code.z, self.weight)
        return flat.unflatten(1, self.shape)

    def atoms(self) -> Tensor:
        """The rows of ``weight``, ``(width, d)``."""
        return self.weight

    @torch.no_grad()
    def times(self, factors: Tensor) -> None:
        """Multiply each atom by its factor ``(width,)``, in place."""
        self.weight.mul_(factors[:, None])

    @torch.no_grad()
    def rescale(self, scale: Tensor, offset: Tensor) -> None:
        """Write ``y scale + offset`` for ``y``, in place."""
        self.weight.mul_(scale)
        self.bias.mul_(scale).add_(offset)

    @property
    def offset(self) -> Tensor:
        """The bias, ``(d,)``."""
        return self.bias

    def error(self, code: Code, target: Tensor) -> Residual | None:
        """The error of the reconstruction, computed as it is decoded, where that is faster."""
        if not isinstance(code, SparseCode) or shard_held() is not None:
            return None
        fields = residual(code.values, code.indices, self.weight, self.bias, target.flatten(1))
        return None if fields is None else Residual(*fields)

    def row_weights(self) -> list[tuple[nn.Parameter, bool]]:
        """Weights whose gradients come row by row, and whether their rows have norm 1."""
        return [(self.weight, self.unit)]

    @torch.no_grad()
    def before_update(self) -> None:
        if RowGradient.claims(self.weight):
            return
        if self.unit and self.weight.grad is not None:
            along = (self.weight.grad * self.weight).sum(1, keepdim=True)
            self.weight.grad.addcmul_(along, self.weight, value=-1.0)

    def after_update(self) -> None:
        if not RowGradient.claims(self.weight):
            self.constrain()

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the rows back to norm 1."""
        if self.unit:
            norms = self.weight.norm(dim=1, keepdim=True).clamp_min_(1e-12)
            self.weight.div_(norms)


class DictionaryEncoder(LinearEncoder, Part):
    """The linear encoder ``(x - b_dec) W + b`` of a sparse dictionary.

    Latents are the rows of ``weight`` ``(width, d)``, which starts as the transpose of
    ``dictionary``, or at random unit rows where it reads ``inputs`` elements of something else.
    ``b_dec`` is the bias of the model's decoder, whichever that is, where
    ``subtract_bias`` asks for it. What comes out are
    :class:`~isthmus.kernels.Preactivations`: the bottleneck says which of them it needs.
    """

    by_latent = ("weight", "bias")

    def __init__(
        self, dictionary: Dictionary, *, subtract_bias: bool = True, inputs: int | None = None
    ) -> None:
        super().__init__()
        self.subtract_bias = subtract_bias
        start = dictionary.weight.detach().clone()
        if inputs is not None:
            start = F.normalize(torch.randn(len(start), inputs), dim=1)
        self.weight = nn.Parameter(start)
        self.bias = nn.Parameter(torch.zeros(len(dictionary.weight)))

    def read_rows(self, model: Autoencoder) -> tuple[Tensor, Tensor]:
        """``W`` and ``b``, with the centre multiplied in."""
        if not self.subtract_bias:
            return self.weight, self.bias
        return self.weight, self.bias - self.weight @ linear_decoder(model).offset

    @torch.no_grad()
    def times(self, factors: Tensor) -> None:
        """Multiply each latent's row and bias by its factor ``(width,)``, in place."""
        self.weight.mul_(factors[:, None])
        self.bias.mul_(factors)

    @torch.no_grad()
    def rescale(self, scale: Tensor, offset: Tensor) -> None:
        """Read ``(x - offset) / scale`` where ``x`` was read, in place."""
        self.weight.div_(scale)
        if not self.subtract_bias:
            self.bias.sub_(self.weight @ offset.expand(self.weight.shape[1]))

    def row_weights(self) -> list[tuple[nn.Parameter, bool]]:
        """Weights whose gradients come row by row, and whether their rows have norm 1."""
        return [(self.weight, False)]

    def forward(self, x: Tensor, *, model: Autoencoder) -> Preactivations:
        centre = linear_decoder(model).offset if self.subtract_bias else None
        return preactivations_of(x.flatten(1), self.weight, self.bias, centre)
