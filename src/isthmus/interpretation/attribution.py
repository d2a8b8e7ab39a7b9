"""Which latents of earlier transcoders a latent is made of, and along which paths.

Transcoders whose latents read the residual stream through a normalisation and write to it make a
latent's pre-activation a sum: of what every earlier latent writes times a product of weights, of
the same through attention heads, and of what the transcoders miss. Attention patterns and the
scales of normalisations are held fixed at their values on the text (Dunefsky et al. 2024,
arXiv:2406.11944; linear attribution of Elhage et al. 2021).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.activations import Activations
from isthmus.anatomy import Autoencoder, evaluating
from isthmus.errors import IsthmusError
from isthmus.interpretation.heads import attention_pattern, head_map
from isthmus.interpretation.replacement import Layers, Replacement, reads, writes
from isthmus.language import Decoder, LanguageModel
from isthmus.language.decoder import DecoderBlock, RMSNorm


def edges(
    upstream: Autoencoder,
    downstream: Autoencoder,
    *,
    gain: Tensor | None = None,
    through: Tensor | None = None,
) -> Tensor:
    """How strongly each latent writes to what each later one reads: input-invariant edges.

    ``dec_i . enc_j``, ``(upstream latents, downstream latents)``, in the units of the activations:
    times the activation of latent i, and divided by the scale of the normalisation in between, it
    is what i adds to the pre-activation of j. ``gain`` ``(width,)`` is that normalisation's gain.
    ``through`` ``(width, width)`` is what a head makes of the stream in between (the gain of its
    own normalisation times :func:`isthmus.interpretation.heads.head_map`; the weight of its
    pattern is then a factor, too). An autoencoder that is no linear dictionary is an
    :class:`IsthmusError`.
    """
    write_vectors, (read_vectors, _) = writes(upstream)[0], reads(downstream)
    read_vectors = read_vectors if gain is None else read_vectors * gain
    write_vectors = write_vectors if through is None else write_vectors @ through
    if write_vectors.shape[1] != read_vectors.shape[1]:
        raise IsthmusError(
            f"{write_vectors.shape[1]} elements are written and {read_vectors.shape[1]} read: pass "
            "transcoders of one residual stream"
        )
    return write_vectors @ read_vectors.T


@dataclass(frozen=True, eq=False)
class Reading:
    """A linear readout ``vector . r + constant`` of the residual stream at one place of the text.

    ``r`` is the stream that enters layer ``layer``, or with ``after_attention`` the one that its
    feed-forward part reads. ``vector`` is float64 ``(width,)``.
    """

    vector: Tensor
    layer: int
    place: int
    after_attention: bool
    constant: float = 0.0


@dataclass(frozen=True, eq=False)
class Parts:
    """The terms of a reading; float64, they add up to ``total``.

    ``heads`` ``(layers, heads, places)`` is what each head brings from each place. By layer:
    ``latents`` ``(latents,)`` is what each latent writes, ``bias`` what its transcoder writes
    where none is active, ``skip`` what its skip makes of the input, ``error`` what the transcoder
    misses, ``plain`` a feed-forward part without a transcoder.
    """

    constant: float
    embed: float
    heads: Tensor
    latents: dict[int, Tensor]
    bias: dict[int, float]
    skip: dict[int, float]
    error: dict[int, float]
    plain: dict[int, float]

    @property
    def total(self) -> float:
        """The sum of everything."""
        groups = (self.bias, self.skip, self.error, self.plain)
        numbers = [number for each in groups for number in each.values()]
        sums = sum(float(part.sum()) for part in (self.heads, *self.latents.values()))
        return self.constant + self.embed + sums + sum(numbers)


@dataclass(frozen=True)
class Node:
    """A latent of a layer, its skip, or a head that brings something, at one place of the text.

    ``kind`` is "latent", "skip" (with the number 0) or "head".
    """

    kind: str
    layer: int
    number: int
    place: int


@dataclass(frozen=True)
class Path:
    """A chain of nodes from an early one to a latent, and how much of that latent it makes up."""

    value: float
    nodes: tuple[Node, ...]


class Trace:
    """One row of text through a model, with the transcoders of some of its layers.

    model
        A language model of this library's own architecture (:class:`isthmus.language.Decoder`).
    tokens
        int64 ``(places,)``, a row without padding, as the model reads it.
    transcoders
        By layer, each from ``layers.i.mlp:in`` to ``layers.i.mlp``, or one cross-layer transcoder
        of such points, whose latents write to several layers at once. The model runs as it is:
        what a transcoder misses is a term of its own.
    """

    def __init__(self, model: LanguageModel, tokens: Tensor, transcoders: Layers) -> None:
        module = model.module
        if not isinstance(module, Decoder):
            raise IsthmusError(
                f"{model.name} is a {type(module).__name__}, whose heads are not known here: use "
                "the resident model, or edges() with matrices of your own"
            )
        if tokens.ndim != 1:
            raise IsthmusError(
                f"tokens of shape {tuple(tokens.shape)} are no single row: pass (places,)"
            )
        layers = range(len(module.layers))
        self.replacement = Replacement.of(transcoders)
        for layer in self.replacement.reads:
            if layer not in layers:
                raise IsthmusError(f"there is no layer {layer}: name one from 0 to {layers[-1]}")
        self.module = module
        points = ["embed", f"layers.{layers[-1]}"]
        for i in layers:
            points += [f"layers.{i}:in", f"layers.{i}.attention:in", f"layers.{i}.mlp_norm:in"]
            points += [f"layers.{i}.mlp:in", f"layers.{i}.mlp"]
        with evaluating(module, gradients=True):
            captures = Activations(module, points)(tokens[None])
        self.taken = {point: tensor[0] for point, tensor in captures.items()}
        """What was at the points of the model, ``(places, width)`` each."""
        self.places = len(tokens)
        self.values: dict[int, Tensor] = {}
        self.errors: dict[int, Tensor] = {}
        with torch.no_grad():
            inputs = [self.taken[f"layers.{i}.attention:in"] for i in layers]
            self.patterns = torch.stack(
                [attention_pattern(module, i, x) for i, x in zip(layers, inputs, strict=True)]
            )
            self._encode()

    # --- what is read ------------------------------------------------------------------------

    @torch.no_grad()
    def pre_activations(self, layer: int, place: int) -> Tensor:
        """Those of a transcoder's latents at one place, float64 ``(latents,)``."""
        rows, bias = self.read_by(layer)
        x = self.taken[f"layers.{layer}.mlp:in"][place]
        return rows.double() @ x.double() + bias.double()

    @torch.no_grad()
    def reading(self, layer: int, latent: int, place: int) -> Reading:
        """A latent's pre-activation as a readout of the residual stream."""
        rows, bias = self.read_by(layer)
        if not 0 <= latent < len(bias):
            raise IsthmusError(f"there is no latent {latent}: name one from 0 to {len(bias) - 1}")
        stream = self.taken[f"layers.{layer}.mlp_norm:in"][place]
        gain = gain_of(self.block(layer).mlp_norm, stream)
        vector = rows[latent].double() * gain
        return Reading(vector, layer, place, True, float(bias[latent]))

    @torch.no_grad()
    def through_head(self, reading: Reading, layer: int, head: int, source: int) -> Reading:
        """What a head brings from ``source`` to a reading, as a readout of the stream there."""
        stream = self.taken[f"layers.{layer}:in"][source]
        block = self.block(layer)
        weight = self.patterns[layer, head, reading.place, source]
        vector = head_map(block.attention, head).double() @ reading.vector
        gain = gain_of(block.attention_norm, stream)
        return Reading(weight * gain * vector, layer, source, False)

    @torch.no_grad()
    def through_latent(self, reading: Reading, layer: int, latent: int) -> Reading:
        """What an active latent writes to a reading, as a readout of what the latent reads.

        A latent that is active equals its pre-activation.
        """
        written = self.replacement.up_to(layer, reading.layer)[latent]
        weight = float(written.double() @ reading.vector)
        read = self.reading(layer, latent, reading.place)
        return Reading(weight * read.vector, layer, reading.place, True, weight * read.constant)

    @torch.no_grad()
    def through_skip(self, reading: Reading, layer: int) -> Reading:
        """What a transcoder's skip writes to a reading, as a readout of what it reads."""
        if layer not in self.replacement.skips:
            raise IsthmusError(
                f"the transcoder of layer {layer} has no skip: fit it with skip=True"
            )
        stream = self.taken[f"layers.{layer}.mlp_norm:in"][reading.place]
        back = reading.vector @ self.replacement.skips[layer].double()
        return Reading(
            back * gain_of(self.block(layer).mlp_norm, stream), layer, reading.place, True
        )

    # --- what it is made of ------------------------------------------------------------------

    @torch.no_grad()
    def parts(self, reading: Reading) -> Parts:
        """Everything that was written to the residual stream before it is read there."""
        vector, place = reading.vector, reading.place
        attending = reading.layer + int(reading.after_attention)
        heads = torch.zeros(len(self.module.layers), self.patterns.shape[1], self.places).double()
        for i in range(attending):
            attention = self.block(i).attention
            inputs = self.taken[f"layers.{i}.attention:in"].double()
            for head in range(attention.heads):
                contributions = inputs @ (head_map(attention, head).double() @ vector)
                heads[i, head] = self.patterns[i, head, place] * contributions
        latents, bias, skip, error, plain = {}, {}, {}, {}, {}
        replaced = self.replacement
        for i in range(reading.layer):
            if i not in replaced.reads:
                plain[i] = float(self.taken[f"layers.{i}.mlp"][place].double() @ vector)
                continue
            written = replaced.up_to(i, reading.layer).double()
            latents[i] = self.values[i][place] * (written @ vector)
            bias[i] = float(replaced.biases[i].double() @ vector)
            error[i] = float(self.errors[i][place] @ vector)
            if i in replaced.skips:
                x = self.taken[f"layers.{i}.mlp:in"][place].double()
                skip[i] = float(replaced.skips[i].double() @ x @ vector)
        embed = float(self.taken["embed"][place].double() @ vector)
        return Parts(reading.constant, embed, heads, latents, bias, skip, error, plain)

    def paths(
        self, layer: int, latent: int, place: int, *, keep: int = 5, length: int = 3
    ) -> list[Path]:
        """The chains of at most ``length`` earlier nodes that a latent is most made of.

        A greedy search (Dunefsky et al. 2024): from the latent backwards, at each
        length the ``keep`` chains of the largest absolute value are kept and taken one node
        further. Largest first.
        """
        end = Node("latent", layer, latent, place)
        frontier = [(self.reading(layer, latent, place), Path(0.0, (end,)))]
        paths: list[Path] = []
        for _ in range(length):
            longer = [
                (reading, node, path, value)
                for reading, path in frontier
                for node, value in self._strongest(reading, keep)
            ]
            longer.sort(key=lambda one: -abs(one[3]))
            frontier = []
            for reading, node, path, value in longer[:keep]:
                chain = Path(value, (node, *path.nodes))
                paths.append(chain)
                if node.kind == "head":
                    behind = self.through_head(reading, node.layer, node.number, node.place)
                elif node.kind == "skip":
                    behind = self.through_skip(reading, node.layer)
                else:
                    behind = self.through_latent(reading, node.layer, node.number)
                frontier.append((behind, chain))
        return sorted(paths, key=lambda path: -abs(path.value))

    def _strongest(self, reading: Reading, keep: int) -> list[tuple[Node, float]]:
        """The nodes before a reading that it is most made of."""
        parts = self.parts(reading)
        nodes: list[tuple[Node, float]] = []
        for i, values in parts.latents.items():
            for number in values.abs().topk(min(keep, len(values))).indices.tolist():
                nodes.append((Node("latent", i, number, reading.place), float(values[number])))
        nodes += [(Node("skip", i, 0, reading.place), value) for i, value in parts.skip.items()]
        flat = parts.heads.flatten()
        for at in flat.abs().topk(min(keep, len(flat))).indices.tolist():
            rest, source = divmod(at, self.places)
            i, head = divmod(rest, parts.heads.shape[1])
            nodes.append((Node("head", i, head, source), float(flat[at])))
        return [(node, value) for node, value in nodes if value != 0.0]

    # --- the model's run ---------------------------------------------------------------------

    def block(self, layer: int) -> DecoderBlock:
        """A layer of the model."""
        block = self.module.layers[layer]
        assert isinstance(block, DecoderBlock)
        return block

    def read_by(self, layer: int) -> tuple[Tensor, Tensor]:
        """Rows and bias of a layer's pre-activations, see :class:`Replacement`."""
        known = self.replacement.reads
        if layer not in known:
            named = ", ".join(map(str, known))
            raise IsthmusError(f"layer {layer} has no transcoder: name one of {named}")
        return known[layer]

    def _encode(self) -> None:
        replaced = self.replacement
        layers = list(replaced.reads)
        codes = replaced.codes({i: self.taken[f"layers.{i}.mlp:in"] for i in layers})
        self.values = {i: codes[i].double() for i in layers}
        for i in layers:
            x, out = (self.taken[f"layers.{i}.mlp{side}"] for side in (":in", ""))
            width = len(replaced.biases[i])
            if width != out.shape[1]:
                raise IsthmusError(
                    f"the transcoder of layer {i} writes {width} elements and its feed-forward "
                    f"part {out.shape[1]}: pass one of layers.{i}.mlp"
                )
            recon = replaced.biases[i].double().expand(len(out), width)
            for layer, written in replaced.writes.items():
                if i in written:
                    recon = recon + self.values[layer] @ written[i].double()
            if i in replaced.skips:
                recon = recon + x.double() @ replaced.skips[i].double().T
            self.errors[i] = out.double() - recon


def gain_of(norm: RMSNorm, stream: Tensor) -> Tensor:
    """What a normalisation multiplies this stream with, float64 ``(width,)``."""
    scale = torch.rsqrt(stream.double().square().mean() + 1e-6)
    return norm.weight.double() * scale
