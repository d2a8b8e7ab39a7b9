"""Feed-forward parts of a model replaced by transcoders: one for each, or a cross-layer one.

What the latents of each layer read, what they write to which layers, and the edits that put all of
it in the model's place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Concatenated, Each, Scaler, offset
from isthmus.anatomy.dictionary import offset_in_units, rows_in_units
from isthmus.anatomy.each import EachScaler
from isthmus.anatomy.evaluation_mode import evaluating
from isthmus.bottlenecks.cross_layer import LayersTopK, layers_of
from isthmus.errors import IsthmusError
from isthmus.interpretation.encoding import coded
from isthmus.interpretation.splice import Edit
from isthmus.networks.layer_dictionary import OnsetLayerDictionary
from isthmus.networks.skip_dictionary import SkipDictionary

Layers = Mapping[int, Autoencoder] | Autoencoder
"""Transcoders by layer, or one cross-layer transcoder."""


def is_cross_layer(model: Autoencoder) -> bool:
    """Whether a model is a cross-layer transcoder."""
    return isinstance(model.decoder, Concatenated)


@dataclass(frozen=True, eq=False)
class Replacement:
    """What transcoders read and write, in the units of the activations.

    ``reads`` has rows ``(latents, width)`` and bias ``(latents,)`` of each layer's latents.
    ``writes[l][m]`` ``(latents, width)`` is what a unit of each latent of layer l adds to what
    layer m writes. ``biases`` ``(width,)`` is what a layer writes where no latent is active, and
    ``skips`` a matrix ``(width written, width read)`` of its input, where there is one.
    """

    layers: Layers
    reads: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    writes: dict[int, dict[int, Tensor]] = field(default_factory=dict)
    biases: dict[int, Tensor] = field(default_factory=dict)
    skips: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, layers: Layers) -> "Replacement":
        """Of transcoders by layer, or of one cross-layer transcoder of named points."""
        replacement = cls(layers)
        if isinstance(layers, Autoencoder):
            replacement._cross_layer(layers)
        else:
            for layer, model in layers.items():
                replacement._one(layer, model)
        return replacement

    @torch.no_grad()
    def codes(self, read: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The latents of each layer ``(rows, latents)``, of what it reads ``(rows, width)``."""
        if not isinstance(self.layers, Autoencoder):
            latents = {}
            for layer, model in self.layers.items():
                with evaluating(model, gradients=True):
                    latents[layer] = coded(model, read[layer]).z
            return latents
        names = points_read(self.layers)
        with evaluating(self.layers, gradients=True):
            z = coded(self.layers, {name: read[layer] for layer, name in names.items()}).z
        return dict(zip(names, z.chunk(len(names), 1), strict=True))

    def up_to(self, layer: int, below: int) -> Tensor:
        """What a unit of each latent of a layer adds to the stream before another layer.

        The sum of its atoms in the layers from its own on that come before ``below``.
        """
        rows = [atoms for target, atoms in self.writes[layer].items() if target < below]
        return rows[0] if len(rows) == 1 else torch.stack(rows).sum(0)

    def _one(self, layer: int, model: Autoencoder) -> None:
        rows, bias = writes(model)
        self.reads[layer], self.writes[layer] = reads(model), {layer: rows}
        self.biases[layer] = bias
        skip = skips(model)
        if skip is not None:
            self.skips[layer] = skip[0]
            self.biases[layer] = bias + skip[1]

    def _cross_layer(self, model: Autoencoder) -> None:
        into, scaler = points_read(model), model.part_as("scaler", EachScaler, "a replacement")
        layers, out = list(into), model.part_as("decoder", Each, "a replacement").names
        atoms = model.atoms()
        for layer, (encoder, dictionary), name in zip(layers, layers_of(model), out, strict=True):
            if isinstance(dictionary, OnsetLayerDictionary):
                raise IsthmusError(
                    "its latents write a constant while they are on (onset), which is no effect of "
                    "their size and in no graph or file of effects: fit with onset=false"
                )
            rows, bias = rows_in_units(encoder.read_rows(model), scaler[into[layer]])
            self.reads[layer] = (rows.detach(), bias.detach())
            self.biases[layer] = offset_in_units(dictionary, scaler[name]).detach()
            if dictionary.skip is not None:
                matrix, constant = _skip(dictionary.skip, scaler[into[layer]], scaler[name])
                self.skips[layer] = matrix
                self.biases[layer] = self.biases[layer] + constant
            self.writes[layer] = {}
        for target, name in zip(layers, out, strict=True):
            parts = atoms[name].chunk(len(layers))
            for layer, part in zip(layers, parts, strict=True):
                if layer <= target:
                    self.writes[layer][target] = part


def reads(autoencoder: Autoencoder) -> tuple[Tensor, Tensor]:
    """``rows`` and ``bias`` of the pre-activations ``rows . x + bias``, in the units of ``x``.

    ``(latents, width read)`` and ``(latents,)``; the scaler is multiplied in. An encoder that is
    not linear is an :class:`IsthmusError`.
    """
    rows_and_bias = autoencoder.read_rows()
    if rows_and_bias is None:
        raise IsthmusError(
            "the autoencoder's encoder is not linear, so that no weight says what a latent reads: "
            "pass a transcoder or a sparse dictionary"
        )
    return rows_and_bias


def writes(autoencoder: Autoencoder) -> tuple[Tensor, Tensor]:
    """What one unit of each latent writes, and what is written where none is active.

    ``(latents, width written)`` and ``(width written,)``, in the units of the activations. A
    decoder that is no linear dictionary is an :class:`IsthmusError`.
    """
    rows, bias = autoencoder.atoms(), offset(autoencoder)
    if rows is None or bias is None:
        raise IsthmusError(
            "the autoencoder's decoder is no dictionary of one row for each latent: pass a "
            "transcoder or a sparse dictionary"
        )
    return rows, bias.detach()


def skips(autoencoder: Autoencoder) -> tuple[Tensor, Tensor] | None:
    """What a transcoder's skip makes of its input, ``matrix x + constant``; None without a skip.

    ``(width written, width read)`` and ``(width written,)``, in the units of the activations.
    """
    decoder = autoencoder.decoder
    if not isinstance(decoder, SkipDictionary):
        return None
    return _skip(decoder.skip_weight, *map(autoencoder.scaler_of, ("read", "written")))


def _skip(weight: Tensor, read: Scaler, written: Scaler) -> tuple[Tensor, Tensor]:
    """A skip of the model's units in those of the activations: a matrix and a constant."""
    matrix = weight.detach()
    matrix = matrix * written.scale.flatten().expand(len(matrix))[:, None] / read.scale.flatten()
    return matrix, -(matrix @ read.offset.flatten().expand(matrix.shape[1]).to(matrix))


def points_read(model: Autoencoder) -> dict[int, str]:
    """The points that a cross-layer transcoder reads, by layer: a name's first number."""
    encoder, points = model.encoder, {}
    names = encoder.names if isinstance(encoder, Each) else ()
    for name in names:
        number = re.search(r"\d+", name)
        if number is None or int(number[0]) in points:
            raise IsthmusError(
                f"the points that are read ({', '.join(names)}) do not say which layer each is of: "
                "fit to points such as layers.0.mlp:in"
            )
        points[int(number[0])] = name
    return points


# --- in the model's place ------------------------------------------------------------------------


class LayerSplice(Edit):
    """What a cross-layer transcoder writes to one layer, in the place of what was there.

    The edits of one model share what was read in the layers before, by the running pass.
    """

    def __init__(
        self, autoencoder: Autoencoder, point: str, reads: str, seen: dict[str, Tensor]
    ) -> None:
        super().__init__(None, reads)
        self.autoencoder, self.point, self.seen = autoencoder, point, seen

    def rows(self, x: Tensor, read: Tensor) -> Tensor:
        model, seen = self.autoencoder, self.seen
        assert self.reads is not None
        names = model.part_as("encoder", Each, self).names
        if self.reads == names[0]:
            seen.clear()
        seen[self.reads] = read
        if list(seen) != list(names[: len(seen)]):
            raise IsthmusError(
                f"{self.reads!r} was read before the layers in front of it: put all edits of a "
                "cross-layer transcoder in together"
            )
        # What later layers read is not known yet, and nothing here depends on it.
        later = {n: read.new_zeros(len(read), model.signal.parts[n].numel) for n in names}
        with evaluating(model, gradients=True):
            params = model.decode_code(coded(model, {**later, **seen}))
            recon = model.unscaled(model.likelihood.mean(params))[self.point]
        return recon.flatten(1).to(x)


def layer_splices(autoencoder: Autoencoder) -> dict[str, Edit]:
    """The edits that put a cross-layer transcoder in the place of all modules that it stands for.

    By point, for :func:`spliced`: the model then runs on what the transcoder wrote, and later
    layers read that. One whose layers are chosen together in each row (``select=layers``) is an
    :class:`IsthmusError`: what a layer's latents are would depend on layers that come later.
    """
    if not is_cross_layer(autoencoder):
        raise IsthmusError("only a cross-layer transcoder stands for several points: use Splice")
    bottleneck = autoencoder.bottleneck
    if isinstance(bottleneck, LayersTopK) and not bottleneck.each:
        raise IsthmusError(
            "this transcoder chooses among the latents of all layers together, later ones "
            "included, and cannot run within the model: fit it with another select"
        )
    seen: dict[str, Tensor] = {}
    read, written = (autoencoder.part_as(p, Each, "splices").names for p in ("encoder", "decoder"))
    return {
        point: LayerSplice(autoencoder, point, into, seen)
        for into, point in zip(read, written, strict=True)
    }
