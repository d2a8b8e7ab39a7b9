"""What every active latent of a text makes of every later one and of the model's answer.

The direct effects of Ameisen et al. 2025 ("Circuit Tracing"): with attention patterns and the
scales of normalisations held at their values on the text, and feed-forward parts cut off but for
what transcoders write, a latent's pre-activation is linear in what was written to the residual
stream before it. A column of the matrix is one source, be it at the same place or brought by the
heads of any layers in between, which are no nodes of their own here (those are
:meth:`isthmus.interpretation.attribution.Trace.parts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.interpretation.attribution import Trace, gain_of
from isthmus.interpretation.heads import head_map
from isthmus.language.decoder import RMSNorm

TARGETS = 64
"""Targets that are followed back together."""
MOST = 20_000
"""Active latents of which a graph is made: the matrix of so many is 3.2 GB."""


@dataclass(frozen=True, eq=False)
class AttributionGraph:
    """Direct effects on latents and logits of one text, in units of these.

    ``latents`` int64 ``(n, 3)`` are the active ones (layer, place, number), in this order, and
    ``values`` float64 ``(n,)`` their activations. ``logits`` int64 ``(k,)`` are the tokens whose
    logits at the last place are targets, each less the mean over the vocabulary, and
    ``probabilities`` float64 ``(k,)`` theirs.

    ``effects`` float64 ``(n + k, n + layers * places + places)`` has a row a target, latents first,
    and a column a source: latents, what the transcoder of each layer misses at each place (all that
    a feed-forward part without one writes), the embedding at each place. ``rest`` ``(n + k,)`` is
    what no source brings: biases, and latents and misses at places that were left out.
    ``effects.sum(1) + rest`` is ``targets`` ``(n + k,)``: pre-activations and logits.
    """

    latents: Tensor
    values: Tensor
    logits: Tensor
    probabilities: Tensor
    effects: Tensor
    rest: Tensor
    targets: Tensor
    layers: int
    places: int

    @property
    def from_latents(self) -> Tensor:
        """``(n + k, n)``."""
        return self.effects[:, : len(self.latents)]

    @property
    def from_errors(self) -> Tensor:
        """``(n + k, layers, places)``."""
        begin, size = len(self.latents), self.layers * self.places
        return self.effects[:, begin : begin + size].unflatten(1, (self.layers, self.places))

    @property
    def from_embeddings(self) -> Tensor:
        """``(n + k, places)``."""
        return self.effects[:, -self.places :]

    def adjacency(self) -> Tensor:
        """The effects as a square matrix over all nodes, rows that are no targets zero.

        Latents, misses, embeddings, logits: the order of circuit-tracer's ``adjacency_matrix``.
        """
        n, sources = len(self.latents), self.effects.shape[1]
        nodes = sources + len(self.logits)
        square = self.effects.new_zeros(nodes, nodes)
        square[:n, :sources] = self.effects[:n]
        square[sources:, :sources] = self.effects[n:]
        return square


@torch.no_grad()
def direct_effects(
    trace: Trace, *, logits: int | Sequence[int] = 10, share: float = 0.95, omit: int = 0
) -> AttributionGraph:
    """All direct effects in one text, which :class:`isthmus.interpretation.Trace` has run.

    logits
        Tokens whose logits at the last place are targets; or a number: the likeliest tokens, as
        many as it takes to have the probability ``share`` together, and at most so many.
    omit
        Places at the beginning whose latents and misses are no nodes and count as ``rest``; 1 is
        what circuit-tracer does with the token that begins a text.

    An :class:`IsthmusError` where more than 20,000 latents are active.
    """
    if not 0 <= omit < trace.places:
        raise IsthmusError(f"omit={omit} of {trace.places} places: leave one at least")
    latents = _active(trace, omit)
    if len(latents) > MOST:
        raise IsthmusError(
            f"{len(latents)} latents are active in these {trace.places} places, and a graph is "
            f"made of at most {MOST}: take a shorter text, or a larger omit="
        )
    sweep = _Sweep(trace, latents, omit)
    tokens, probabilities, vectors, scores = _logits(trace, logits, share)
    rows: list[Tensor] = []
    totals: list[Tensor] = []
    rest: list[Tensor] = []
    for begin in range(0, len(latents), TARGETS):
        part = latents[begin : begin + TARGETS]
        effects, left = sweep.back(part, None)
        read = [trace.reading(i, number, place) for i, place, number in part.tolist()]
        streams = [trace.taken[f"layers.{r.layer}.mlp_norm:in"][r.place] for r in read]
        bias = left.new_tensor([r.constant for r in read])
        rows.append(effects)
        rest.append(left + bias)
        totals.append(
            bias
            + left.new_tensor(
                [float(r.vector @ x.double()) for r, x in zip(read, streams, strict=True)]
            )
        )
    effects, left = sweep.back(latents[:0], vectors)
    return AttributionGraph(
        latents=latents,
        values=sweep.values,
        logits=tokens,
        probabilities=probabilities,
        effects=torch.cat([*rows, effects]),
        rest=torch.cat([*rest, left]),
        targets=torch.cat([*totals, scores]),
        layers=len(trace.module.layers),
        places=trace.places,
    )


def _active(trace: Trace, omit: int) -> Tensor:
    """Layer, place and number of the latents that are on, ``(n, 3)``."""
    latents = []
    for layer in sorted(trace.values):
        at = trace.values[layer].nonzero()
        at = at[at[:, 0] >= omit]
        latents.append(torch.cat([torch.full_like(at[:, :1], layer), at], 1))
    return torch.cat(latents)


def _logits(
    trace: Trace, logits: int | Sequence[int], share: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, their probabilities, what reads the last place's stream for them, and the scores."""
    module = trace.module
    stream = trace.taken[f"layers.{len(module.layers) - 1}"][-1].double()
    weight = module.embed.weight.double()
    gain = gain_of(module.norm, stream)
    scores = weight @ (gain * stream)
    probabilities = scores.softmax(0)
    if isinstance(logits, int):
        most = probabilities.topk(min(max(logits, 0), len(probabilities)))
        enough = int((most.values.cumsum(0) < share).sum()) + 1
        tokens = most.indices[:enough]
    else:
        tokens = torch.tensor(list(logits), dtype=torch.long, device=weight.device)
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < len(weight):
            raise IsthmusError(
                f"logits={list(logits)}: tokens are numbers from 0 to {len(weight) - 1}"
            )
    vectors = (weight[tokens] - weight.mean(0)) * gain
    return tokens, probabilities[tokens], vectors, scores[tokens] - scores.mean()


class _Sweep:
    """From targets back to everything that was written before, layer by layer."""

    def __init__(self, trace: Trace, latents: Tensor, omit: int) -> None:
        self.trace, self.latents, self.omit = trace, latents, omit
        values = [trace.values[layer][place, at] for layer, place, at in latents.tolist()]
        self.values = torch.stack(values) if values else trace.patterns.new_zeros(0)
        self.at = {
            (layer, place): ((latents[:, 0] == layer) & (latents[:, 1] == place)).nonzero()[:, 0]
            for layer in trace.values
            for place in range(omit, trace.places)
        }
        layers = range(len(trace.module.layers))
        self.before = [
            _gains(trace.block(i).attention_norm, trace.taken[f"layers.{i}:in"]) for i in layers
        ]
        self.middle = [
            _gains(trace.block(i).mlp_norm, trace.taken[f"layers.{i}.mlp_norm:in"]) for i in layers
        ]

    def back(self, targets: Tensor, last: Tensor | None) -> tuple[Tensor, Tensor]:
        """The effects on targets ``(t, sources)``, and what of them no source brings ``(t,)``.

        ``targets`` are latents ``(t, 3)``; ``last`` ``(t, width)`` reads the last place's stream
        behind all layers in their stead.
        """
        trace, n, places = self.trace, len(self.latents), self.trace.places
        depth, width = len(trace.module.layers), trace.taken["embed"].shape[1]
        count = len(targets) if last is None else len(last)
        effects = self.values.new_zeros(count, n + (depth + 1) * places)
        rest = self.values.new_zeros(count)
        # What each target reads of the stream at each place, here behind the last layer.
        reads = self.values.new_zeros(count, places, width)
        if last is not None:
            reads[:, -1] = last
        for i in reversed(range(depth)):
            self._feed_forward(i, reads, effects, rest)
            if i in trace.replacement.skips:
                skip = trace.replacement.skips[i].double()
                reads = reads + (reads @ skip) * self.middle[i]
            for row, (layer, place, number) in enumerate(targets.tolist()):
                if layer == i:
                    reads[row, place] += trace.reading(i, number, place).vector
            attention = trace.block(i).attention
            brought = torch.zeros_like(reads)
            for head in range(attention.heads):
                pattern = trace.patterns[i, head]  # (places, sources)
                brought += pattern.T @ (reads @ head_map(attention, head).double().T)
            reads = reads + brought * self.before[i]
        embed = trace.taken["embed"].double()
        effects[:, n + depth * places :] = (reads * embed).sum(2)
        return effects, rest

    def _feed_forward(self, i: int, reads: Tensor, effects: Tensor, rest: Tensor) -> None:
        """What was written in the place of one layer's feed-forward part."""
        trace, n, places = self.trace, len(self.latents), self.trace.places
        replaced, omit = trace.replacement, self.omit
        missed = trace.errors.get(i)
        missed = trace.taken[f"layers.{i}.mlp"].double() if missed is None else missed
        errors = (reads * missed).sum(2)
        rest += errors[:, :omit].sum(1)
        begin = n + i * places
        effects[:, begin + omit : begin + places] = errors[:, omit:]
        if i in replaced.biases:
            rest += reads.sum(1) @ replaced.biases[i].double()
        for layer, written in replaced.writes.items():
            if i not in written:
                continue
            atoms = written[i].double()
            for place in range(places):
                if place < omit:
                    rest += reads[:, place] @ (trace.values[layer][place] @ atoms)
                    continue
                at = self.at[layer, place]
                vectors = atoms[self.latents[at, 2]] * self.values[at, None]
                effects[:, at] += reads[:, place] @ vectors.T


def _gains(norm: RMSNorm, stream: Tensor) -> Tensor:
    """What a normalisation multiplies the stream with at each place, ``(places, width)``."""
    return torch.stack([gain_of(norm, row) for row in stream])
