"""A trained dictionary in whole numbers of 8 or 4 bits: a quarter or an eighth of the memory."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Code,
    LinearDecoder,
    LinearEncoder,
    SparseCode,
    linear_decoder,
)
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations, adaptive_decode
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder
from isthmus.networks.tied_encoder import TiedEncoder
from isthmus.shapes import Float, Int

GROUP = 32
"""Neighbouring elements of a row that share a scale where there are 4 bits."""
_BLOCK = 1 << 22
"""Weights that are held in single precision at once."""


class QuantisedWeight(nn.Module):
    """A matrix ``(width, d)`` as whole numbers times scales, symmetric about zero.

    Of 8 bits each row has one scale, a 127th of its largest element; of 4 bits every :data:`GROUP`
    neighbours of a row have one, a seventh of theirs, and two numbers are in one byte. What is
    rounded is at most half a scale.
    """

    numbers: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        if bits not in (4, 8):
            raise IsthmusError(f"bits={bits} is neither 8 nor 4: choose one of them")
        self.bits, self.shape = bits, tuple(weight.shape)
        group = GROUP if bits == 4 else weight.shape[1]
        padded = nn.functional.pad(weight.detach().float(), (0, -weight.shape[1] % group))
        groups = padded.unflatten(1, (-1, group))
        most = 7 if bits == 4 else 127
        scales = groups.abs().amax(2) / most
        rounded = (groups / scales.clamp_min(1e-30)[:, :, None]).round().clamp(-most, most)
        whole = rounded.to(torch.int8).flatten(1)
        if bits == 4:
            low, high = whole[:, ::2] + 8, whole[:, 1::2] + 8
            whole = (low.to(torch.uint8) | (high.to(torch.uint8) << 4)).contiguous()
        self.register_buffer("numbers", whole)
        self.register_buffer("scales", scales)

    def rows(self, index: Tensor | slice = slice(None)) -> Float[Tensor, "rows d"]:
        """Rows in single precision, by number or all of a slice."""
        numbers, scales = self.numbers[index], self.scales[index]
        if self.bits == 4:
            pair = torch.stack([numbers & 15, numbers >> 4], 2).flatten(1)
            numbers = pair.to(torch.int8) - 8
        values = numbers.to(scales.dtype).unflatten(1, (scales.shape[1], -1)) * scales[:, :, None]
        return values.flatten(1)[:, : self.shape[1]]

    def blocks(self) -> Iterator[slice]:
        """Rows after one another, as many as are held at once."""
        size = max(1, _BLOCK // self.shape[1])
        for start in range(0, self.shape[0], size):
            yield slice(start, min(start + size, self.shape[0]))


class QuantisedPreactivations(Preactivations):
    """Pre-activations by a quantised weight, a block of latents at a time."""

    def __init__(
        self, x: Tensor, quantised: QuantisedWeight, bias: Tensor, centre: Tensor | None
    ) -> None:
        self.x, self.quantised, self.bias, self.centre = x, quantised, bias, centre
        self._dense: Tensor | None = None

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The whole weight in single precision, made at each use."""
        return self.quantised.rows()

    @property
    def width(self) -> int:
        return self.quantised.shape[0]

    def take(self, rows: Tensor) -> "QuantisedPreactivations":
        return QuantisedPreactivations(self.x[rows], self.quantised, self.bias, self.centre)

    def of(self, latents: Int[Tensor, " some"]) -> Preactivations:
        return Preactivations(self.x, self.quantised.rows(latents), self.bias[latents], self.centre)

    def dense(self) -> Float[Tensor, "rows width"]:
        if self._dense is None:
            self._dense = torch.cat([self._block(part) for part in self.quantised.blocks()], 1)
        return self._dense

    def top(
        self, k: int, *, magnitude: bool = False, priority: Tensor | None = None
    ) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
        """The k largest of each row: of each block, then of what these have."""
        values, indices, keys = [], [], []
        for part in self.quantised.blocks():
            u = self._block(part)
            key = u.abs() if magnitude else u
            key = key if priority is None else key * priority[part]
            best = key.topk(min(k, key.shape[1]), dim=1, sorted=False)
            values.append(u.gather(1, best.indices))
            indices.append(best.indices + part.start)
            keys.append(best.values)
        chosen_places = torch.cat(keys, 1).topk(k, dim=1, sorted=False).indices
        return (
            torch.cat(values, 1).gather(1, chosen_places),
            torch.cat(indices, 1).gather(1, chosen_places),
        )

    def above(
        self, cutoff: Float[Tensor, " width"], *, fill: float = 0.0
    ) -> tuple[Float[Tensor, "rows most"], Int[Tensor, "rows most"]] | None:
        """None: who asks for all above a cutoff looks at all of them."""
        return None

    def _stay_dense(self, k: int) -> bool:
        return True

    def _block(self, part: slice) -> Tensor:
        x = self.x if self.centre is None else self.x - self.centre
        return torch.addmm(self.bias[part], x, self.quantised.rows(part).T)


class QuantisedEncoder(LinearEncoder, nn.Module):
    """The linear encoder of a dictionary, its weight in whole numbers.

    Without a ``weight`` it is tied: it reads with the atoms of the :class:`QuantisedDictionary`.
    """

    bias: Tensor

    def __init__(
        self, weight: Tensor | None, bias: Tensor, bits: int, *, subtract_bias: bool
    ) -> None:
        super().__init__()
        self.subtract_bias = subtract_bias
        self.own = None if weight is None else QuantisedWeight(weight, bits)
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, x: Tensor, *, model: Autoencoder) -> Preactivations:
        centre = linear_decoder(model).offset if self.subtract_bias else None
        return QuantisedPreactivations(x.flatten(1), self._weight(model), self.bias, centre)

    def read_rows(self, model: Autoencoder) -> tuple[Tensor, Tensor]:
        """The weight in single precision and the bias, with the centre multiplied in."""
        weight = self._weight(model).rows()
        if not self.subtract_bias:
            return weight, self.bias
        return weight, self.bias - weight @ linear_decoder(model).offset

    def _weight(self, model: Autoencoder) -> QuantisedWeight:
        if self.own is not None:
            return self.own
        return model.part_as("decoder", QuantisedDictionary, self).quantised


class QuantisedDictionary(LinearDecoder, nn.Module):
    """A dictionary whose atoms are in whole numbers; only those in use are made real."""

    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, shape: tuple[int, ...], bits: int) -> None:
        super().__init__()
        self.shape = shape
        self.quantised = QuantisedWeight(weight, bits)
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, *, code: Code) -> Tensor:
        return self.decode(code)

    def decode(self, code: Code) -> Tensor:
        """The reconstruction, ``(rows, *shape)``, in the model's units."""
        if isinstance(code, SparseCode):
            latents, places = code.indices.unique(return_inverse=True)
            flat = adaptive_decode(code.values, places, self.quantised.rows(latents)) + self.bias
        else:
            parts = [code.z[:, p] @ self.quantised.rows(p) for p in self.quantised.blocks()]
            flat = torch.stack(parts).sum(0) + self.bias
        return flat.unflatten(1, self.shape)

    def atoms(self) -> Tensor:
        """All atoms in single precision, ``(width, d)``, made at each use."""
        return self.quantised.rows()

    @property
    def offset(self) -> Tensor:
        """The bias, ``(d,)``."""
        return self.bias


@torch.no_grad()
def quantised(model: Autoencoder, bits: int = 8) -> Autoencoder:
    """A copy of a trained dictionary for inference, its weights in ``bits`` of 8 or 4.

    Codes and reconstructions are those of the rounded weights, computed in single precision: in
    memory and in the files the weights are a quarter or an eighth, time is not gained. Biases,
    thresholds and the scaler stay as they are. It encodes, decodes, is measured, saved and loaded
    as any model, and is not trained. What is no dictionary of one part is an
    :class:`~isthmus.errors.IsthmusError`.
    """
    if not isinstance(model, Autoencoder):
        raise IsthmusError(
            f"a {type(model).__name__} cannot be quantised: pass a model, isthmus.load(folder)"
        )
    encoder, decoder = model.encoder, model.decoder
    if not isinstance(encoder, (DictionaryEncoder, TiedEncoder)) or not isinstance(
        decoder, Dictionary
    ):
        raise IsthmusError(
            f"{type(encoder).__name__} and {type(decoder).__name__} cannot be quantised: only a "
            "linear dictionary of one part that is not quantised yet can"
        )
    tied = isinstance(encoder, TiedEncoder)
    reading = None if tied else encoder.get_parameter("weight")
    small = copy.deepcopy(model)
    small.encoder = QuantisedEncoder(
        reading, encoder.bias, bits, subtract_bias=encoder.subtract_bias
    )
    small.decoder = QuantisedDictionary(decoder.weight, decoder.bias, decoder.shape, bits)
    small.config = {**model.config, "quantised": bits}
    return small.eval()
