"""Linear dictionaries: what a decoder of atoms and an encoder of rows say of themselves.

A decoder that is a :class:`LinearDecoder` rebuilds ``z A + offset``, an encoder that is a
:class:`LinearEncoder` gives pre-activations ``R x + bias``, both in the model's units. The
functions below ask a whole model, and answer in the units of the data it was given: the scaler is
multiplied in. A model that reads one part of a row and writes another (a transcoder) has rows of
the part that is read and atoms of the part that is written.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isthmus.anatomy.code import Code
from isthmus.anatomy.likelihood import Gaussian
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder


@dataclass(frozen=True, eq=False)
class Residual:
    """``error`` = reconstruction - target ``(rows, d)`` and its squared length ``(rows,)``."""

    error: Tensor
    squares: Tensor


class LinearDecoder:
    """A decoder ``z A + offset``: inherited beside ``nn.Module``, and everywhere understood.

    Only :meth:`atoms` and ``offset`` have to be defined. A decoder that is not linear in ``z`` must
    not inherit this.
    """

    def atoms(self) -> Tensor:
        """What one unit of each latent adds, ``(width, d)``, in the model's units."""
        raise NotImplementedError

    @property
    def offset(self) -> Tensor:
        """What is rebuilt where no latent is active, ``(d,)``, in the model's units."""
        raise NotImplementedError

    def decode(self, code: Code) -> Tensor:
        """The reconstruction, ``(rows, *shape)``; flat, ``(rows, d)``, unless overridden."""
        return torch.addmm(self.offset, code.z, self.atoms())

    def error(self, code: Code, target: Tensor) -> Residual | None:
        """Reconstruction minus ``target``, where that is quicker to have at once; else None."""
        return None

    def from_latent(self, z: Tensor) -> Code:
        """The code that dense latents ``(rows, width)`` stand for."""
        return Code(z)


class LinearEncoder:
    """An encoder of pre-activations ``R x + bias``: inherited beside ``nn.Module``.

    ``x`` are the first elements of a row, as many as ``R`` has columns. ``inputs`` is their number
    where that is not all of them.
    """

    inputs: int | None = None

    def read_rows(self) -> tuple[Tensor, Tensor]:
        """``R`` ``(width, d read)`` and ``bias`` ``(width,)``, in the model's units.

        A centre that is subtracted from ``x`` and a factor that multiplies it are multiplied in.
        """
        raise NotImplementedError


def linear_decoder(model: "Autoencoder") -> LinearDecoder:
    """The model's dictionary, in the model's units; an error where the decoder is none."""
    if isinstance(model.decoder, LinearDecoder):
        return model.decoder
    raise IsthmusError(
        "this model's decoder is no dictionary of one row for each latent: use a sparse recipe, or "
        "a decoder that is a LinearDecoder"
    )


# A decoder of several dictionaries, one a name, would have these answer with one a name.


def atoms(model: "Autoencoder", latents: Tensor | None = None) -> Tensor | None:
    """What one unit of each latent adds to the reconstruction, ``(latents, d)``, user's units.

    Of all latents or of those given, gradients kept. None where the reconstruction is not linear in
    the latents.
    """
    decoder = _linear(model)
    if decoder is None:
        return None
    rows = decoder.atoms() if latents is None else decoder.atoms()[latents]
    return rows * _written(model.scaler.scale, rows.shape[1]).to(rows)


def offset(model: "Autoencoder") -> Tensor | None:
    """What is rebuilt where no latent is active, ``(d,)``, user's units; None as for `atoms`."""
    decoder = _linear(model)
    if decoder is None:
        return None
    bias = decoder.offset
    scale, centre = (
        _written(t, len(bias)).to(bias) for t in (model.scaler.scale, model.scaler.offset)
    )
    return bias * scale + centre


def read_rows(model: "Autoencoder") -> tuple[Tensor, Tensor] | None:
    """``rows`` and ``bias`` of pre-activations ``x @ rows.T + bias`` of ``x`` in the user's units.

    ``(width, d read)`` and ``(width,)``, gradients kept. Scaler, centre and factor are multiplied
    in. None where the encoder is not linear.
    """
    if not isinstance(model.encoder, LinearEncoder):
        return None
    rows, bias = model.encoder.read_rows()
    read = rows.shape[1]
    scale, centre = (
        t.flatten().expand(model.signal.numel)[:read].to(rows)
        for t in (model.scaler.scale, model.scaler.offset)
    )
    rows = rows / scale
    return rows, bias - rows @ centre


def decodes_latents(model: "Autoencoder") -> bool:
    """Whether the model rebuilds from the latents ``z`` alone, without the rest of the code."""
    decoder = model.decoder
    if decoder is None or isinstance(decoder, LinearDecoder):
        return decoder is not None
    return getattr(decoder, "reads", "z") != "code" or hasattr(decoder, "from_latent")


def code_of(model: "Autoencoder", z: Tensor) -> Code:
    """The code that dense latents ``(rows, width)`` stand for, as the model's decoder reads it."""
    make = getattr(model.decoder, "from_latent", Code)
    code: Code = make(z)
    return code


def _linear(model: "Autoencoder") -> LinearDecoder | None:
    linear = isinstance(model.decoder, LinearDecoder) and type(model.likelihood) is Gaussian
    return linear_decoder(model) if linear else None


def _written(values: Tensor, size: int) -> Tensor:
    """What the scaler has for the elements that are written: the last ones of a row."""
    flat = values.flatten()
    return flat if len(flat) == 1 else flat[-size:]
