"""Linear dictionaries: what a decoder of atoms and an encoder of rows say of themselves.

A decoder that is a :class:`LinearDecoder` rebuilds ``z A + offset``, an encoder that is a
:class:`LinearEncoder` gives pre-activations ``R x + bias``, both in the model's units. The
functions below ask a whole model, and answer in the units of the data it was given: the scaler is
multiplied in. A model that reads one part of the data and writes another (a transcoder) has rows of
the part that is read and atoms of the part that is written; one that writes several parts, each by
a dictionary (a crosscoder), has a tree of atoms.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from isthmus.anatomy.code import Code
from isthmus.anatomy.code_kinds import SparseCode
from isthmus.anatomy.each import Each, EachScaler, sole
from isthmus.anatomy.likelihood import Gaussian
from isthmus.anatomy.scaler import Scaler
from isthmus.anatomy.signature import function_of, wanted
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder


def fixed(part: object) -> IsthmusError:
    """What is said of a part whose weights cannot be changed by themselves."""
    return IsthmusError(
        f"nothing can be folded into {type(part).__name__}, whose weights are tied or none: use "
        "the model as it is"
    )


@dataclass(frozen=True, eq=False)
class Residual:
    """``error`` = reconstruction - target ``(rows, d)`` and its squared length ``(rows,)``."""

    error: Tensor
    squares: Tensor


class LinearDecoder:
    """A decoder ``z A + offset``: inherited beside ``nn.Module``, and everywhere understood.

    Only :meth:`atoms` and ``offset`` have to be defined. A decoder that is not linear in ``z`` must
    not inherit this. One that also adds something which the code carries besides ``z`` says so by
    ``latents_suffice = False``: latents alone are then no code of it.
    """

    latents_suffice: ClassVar[bool] = True

    def atoms(self) -> Tensor:
        """What one unit of each latent adds, ``(width, d)``, in the model's units."""
        raise NotImplementedError

    @property
    def offset(self) -> Tensor:
        """What is rebuilt where no latent is active, ``(d,)``, in the model's units."""
        raise NotImplementedError

    def times(self, factors: Tensor) -> None:
        """Multiply each atom by its factor ``(width,)``, in place."""
        raise fixed(self)

    def rescale(self, scale: Tensor, offset: Tensor) -> None:
        """Write ``y scale + offset`` for ``y``, in place: each a number or ``(d,)``."""
        raise fixed(self)

    @property
    def skip(self) -> Tensor | None:
        """What leads from the input to the output past the latents, ``(d, d read)``; or None."""
        return None

    def reread(self, scale: Tensor, offset: Tensor) -> None:
        """Told that ``(x - offset) / scale`` is read where ``x`` was; most decoders read none."""

    def lengths(self) -> Tensor:
        """The length of each latent's atom, ``(width,)``, in the model's units."""
        return self.atoms().norm(dim=1)

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

    ``subtract_bias`` says whether it reads ``x`` less the decoder's offset.
    """

    subtract_bias: bool = False

    def times(self, factors: Tensor) -> None:
        """Multiply each latent's row and bias by its factor ``(width,)``, in place."""
        raise fixed(self)

    def rescale(self, scale: Tensor, offset: Tensor) -> None:
        """Read ``(x - offset) / scale`` where ``x`` was read, in place: each a number or ``(d,)``.

        Where the decoder's offset is subtracted it has been rescaled to suit.
        """
        raise fixed(self)

    def read_rows(self, model: "Autoencoder") -> tuple[Tensor, Tensor]:
        """``R`` ``(width, d read)`` and ``bias`` ``(width,)``, in the model's units.

        A centre that is subtracted from ``x`` and a factor that multiplies it are multiplied in.
        """
        raise NotImplementedError


class Concatenated(Each):
    """Dictionaries of which a latent's atoms count as one long atom.

    Its length is then the root of the sum of their squares, not the sum of their lengths.
    """


def linear_decoder(model: "Autoencoder") -> LinearDecoder:
    """The model's dictionary, in the model's units; an error where the decoder is none."""
    if isinstance(model.decoder, LinearDecoder):
        return model.decoder
    raise IsthmusError(
        "this model's decoder is no dictionary of one row for each latent: use a sparse recipe, or "
        "a decoder that is a LinearDecoder"
    )


def dictionaries(model: "Autoencoder") -> dict[str, LinearDecoder]:
    """The model's dictionaries, in the model's units, by the names of what they write.

    One that writes all there is has the name ``""``. An error where any part of the decoder is no
    dictionary.
    """
    if not isinstance(model.decoder, Each):
        return {"": linear_decoder(model)}
    parts = model.decoder.items()
    if not all(isinstance(part, LinearDecoder) for _, part in parts):
        raise IsthmusError(
            "not every part of this model's decoder is a dictionary of one row for each latent: "
            "give it parts that are a LinearDecoder"
        )
    return dict(parts)


def branch(tree: Tree, name: str) -> Tensor:
    """What a dictionary of that name writes, of a tree of what all of them do."""
    leaf: Tensor = tree[name] if name else tree
    return leaf


def norms(model: "Autoencoder") -> Tensor:
    """The length of each latent's atom, ``(width,)``, in the model's units, gradients kept.

    Of several dictionaries the sum of the lengths; of :class:`Concatenated` ones the length of the
    atoms end to end.
    """
    lengths = [part.lengths() for part in dictionaries(model).values()]
    if isinstance(model.decoder, Concatenated):
        return torch.linalg.vector_norm(torch.stack(lengths), dim=0)
    return lengths[0] if len(lengths) == 1 else torch.stack(lengths).sum(0)


def atoms(model: "Autoencoder", latents: Tensor | None = None) -> Tree:
    """What one unit of each latent adds to the reconstruction, ``(latents, d)``, user's units.

    Of all latents or of those given, gradients kept; a tree of these for a decoder of several
    dictionaries. None where the reconstruction is not linear in the latents.
    """
    if isinstance(model.decoder, Each):
        parts = model.decoder.items()
        if not all(isinstance(part, LinearDecoder) for _, part in parts):
            return None
        scaler = model.scaler
        scalers = {n: scaler[n] if isinstance(scaler, EachScaler) else scaler for n, _ in parts}
        return {name: _in_units(part, scalers[name], latents) for name, part in parts}
    decoder = _linear(model)
    return None if decoder is None else _in_units(decoder, model.scaler_of("written"), latents)


def _in_units(decoder: LinearDecoder, scaler: Scaler, latents: Tensor | None) -> Tensor:
    rows = decoder.atoms() if latents is None else decoder.atoms()[latents]
    if scaler.mode == "none":  # a copy of a large dictionary would be half of all memory
        return rows
    return rows * scaler.scale.flatten().to(rows)


def offset(model: "Autoencoder") -> Tensor | None:
    """What is rebuilt where no latent is active, ``(d,)``, user's units; None as for `atoms`."""
    decoder = _linear(model)
    if decoder is None:
        return None
    return offset_in_units(decoder, model.scaler_of("written"))


def offset_in_units(decoder: LinearDecoder, scaler: Scaler) -> Tensor:
    """A dictionary's offset in the units that its scaler gives back, ``(d,)``."""
    bias = decoder.offset
    return bias * scaler.scale.flatten().to(bias) + scaler.offset.flatten().to(bias)


def read_rows(model: "Autoencoder") -> tuple[Tensor, Tensor] | None:
    """``rows`` and ``bias`` of pre-activations ``x @ rows.T + bias`` of ``x`` in the user's units.

    ``(width, d read)`` and ``(width,)``, gradients kept. Scaler, centre and factor are multiplied
    in. None where the encoder is not linear, or each row is scaled by itself.
    """
    encoder, scaler = sole(model.encoder), model.scaler_of("read")
    if not isinstance(encoder, LinearEncoder) or scaler.by_row:
        return None
    return rows_in_units(encoder.read_rows(model), scaler)


def rows_in_units(read: tuple[Tensor, Tensor], scaler: Scaler) -> tuple[Tensor, Tensor]:
    """Rows and bias that read the model's units as those that read what a scaler is given."""
    rows, bias = read
    if scaler.mode == "none":
        return rows, bias
    scale, centre = (
        t.flatten().expand(rows.shape[1]).to(rows) for t in (scaler.scale, scaler.offset)
    )
    rows = rows / scale
    return rows, bias - rows @ centre


def reads_z(decoder: nn.Module) -> bool:
    """Whether a decoder takes z: otherwise it reads the whole code, and z is never built."""
    if isinstance(decoder, Each):
        return any(reads_z(part) for _, part in decoder.items())
    return wanted(function_of(decoder)).positional


def of_this_model(model: "Autoencoder", code: Code) -> Code:
    """A code that came from anywhere: compiled kernels look atoms up by its numbers, unchecked."""
    if not isinstance(code, SparseCode):
        return code
    decoder = model.decoder
    width = len(decoder.atoms()) if isinstance(decoder, LinearDecoder) else code.width
    if width != code.width:
        raise IsthmusError(
            f"the code has {code.width} latents and this model {width}: pass a code of this model"
        )
    return code.checked()


def decodes_latents(model: "Autoencoder") -> bool:
    """Whether the model rebuilds from the latents ``z`` alone, without the rest of the code."""
    decoder = model.decoder
    if decoder is None:
        return False
    return reads_z(decoder) or all(
        isinstance(part, LinearDecoder) and part.latents_suffice for part in parts_of(decoder)
    )


def code_of(model: "Autoencoder", z: Tensor) -> Code:
    """The code that dense latents ``(rows, width)`` stand for, as the model's decoder reads it."""
    first = None if model.decoder is None else parts_of(model.decoder)[0]
    return first.from_latent(z) if isinstance(first, LinearDecoder) else Code(z)


def parts_of(decoder: nn.Module | None) -> list[nn.Module]:
    """The decoder itself, or each of several."""
    if decoder is None:
        return []
    return [part for _, part in decoder.items()] if isinstance(decoder, Each) else [decoder]


def _linear(model: "Autoencoder") -> LinearDecoder | None:
    linear = isinstance(model.decoder, LinearDecoder) and type(model.likelihood) is Gaussian
    return linear_decoder(model) if linear else None
