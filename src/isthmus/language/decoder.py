"""A small transformer language model whose parts are easy to name and to hook.

Pre-normalised blocks (Radford et al. 2019) with RMSNorm (Zhang and Sennrich 2019), rotary positions
(Su et al. 2021), GELU, no biases, and the embedding tied to the output (Press and Wolf 2017).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import IsthmusError
from isthmus.shapes import Bool, Float, Int


@dataclass(frozen=True)
class Shape:
    """Sizes of a ``Decoder``."""

    vocabulary: int = 4096
    width: int = 192
    heads: int = 6
    layers: int = 4
    context: int = 256
    hidden: int = 768
    base: float = 10_000.0
    still: tuple[int, ...] = ()
    """Blocks whose attention sees no positions: queries and keys are not turned."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "still", tuple(self.still))  # JSON has lists
        if self.width % (2 * self.heads):
            raise IsthmusError(
                f"width={self.width} does not give {self.heads} heads of an even width each: use "
                f"a multiple of {2 * self.heads}"
            )


class Cache:
    """Keys and values of the places seen so far, for use without gradients."""

    def __init__(self) -> None:
        self.places = 0
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer ``(rows, heads, places, head)``, the new ones last."""
        end = self.places + key.shape[2]
        kept = self._kept.get(layer)
        if kept is None or kept[0].shape[2] < end:  # twice the room, so that few steps copy
            wider = tuple(x.new_empty(*x.shape[:2], 2 * end, x.shape[3]) for x in (key, value))
            for room, old in zip(wider, kept or (), strict=False):
                room[:, :, : self.places] = old[:, :, : self.places]
            kept = self._kept[layer] = (wider[0], wider[1])
        for room, new in zip(kept, (key, value), strict=True):
            room[:, :, self.places : end] = new
        return kept[0][:, :, :end], kept[1][:, :, :end]


class RMSNorm(nn.Module):
    """``x / rms(x) * weight``, over the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-6)


class Attention(nn.Module):
    """Causal self-attention with rotary positions; the output, before it joins the residual."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "rows places width"],
        rotation: tuple[Tensor, Tensor],
        cache: Cache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "rows places width"]:
        rows, places, width = x.shape
        parts = self.qkv(x).view(rows, places, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        query, key = rotated(query, rotation), rotated(key, rotation)
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        seen = key.shape[2] - places
        if seen == 0 or places == 1:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=places > 1)
        else:
            mask = torch.ones(places, key.shape[2], dtype=torch.bool, device=x.device).tril(seen)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, places, width))
        return out


class FeedForward(nn.Module):
    """Two layers with GELU between; the output, before it joins the residual."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        out: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return out


class DecoderBlock(nn.Module):
    """Attention, then the feed-forward part; the output is the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width)
        self.attention = Attention(shape)
        self.mlp_norm = RMSNorm(shape.width)
        self.mlp = FeedForward(shape)

    def forward(
        self,
        x: Float[Tensor, "rows places width"],
        rotation: tuple[Tensor, Tensor],
        cache: Cache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "rows places width"]:
        x = x + self.attention(self.attention_norm(x), rotation, cache, layer)
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class Decoder(nn.Module):
    """Tokens ``(rows, places)`` to logits for the next token ``(rows, places, vocabulary)``.

    Modules: ``embed``; ``layers.0`` and on, whose outputs are the residual stream, with
    ``layers.0.attention`` and ``layers.0.mlp``, whose outputs are added to it; ``norm``. The logits
    are ``norm(residual) @ embed.weight.T``.
    """

    _cosine: Tensor
    _sine: Tensor

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or Shape()
        self.embed = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(DecoderBlock(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width)
        cosine, sine = rotations(shape.context, shape.width // shape.heads, shape.base)
        self.register_buffer("_cosine", cosine, persistent=False)
        self.register_buffer("_sine", sine, persistent=False)
        self.reset()

    def rotation(self, layer: int, begin: int, end: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines that turn the heads of a block, ``(places, head / 2)`` each."""
        cosine, sine = self._cosine[begin:end], self._sine[begin:end]
        if layer in self.shape.still:
            return torch.ones_like(cosine), torch.zeros_like(sine)
        return cosine, sine

    def reset(self) -> None:
        """Weights of variance 1 / inputs, so that signals keep their size.

        The maps that write to the residual stream begin as small as the embedding (0.05), divided
        by the square root of their number (Radford et al. 2019): it does not grow with depth.
        """
        nn.init.normal_(self.embed.weight, std=0.05)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
        small = 0.05 * (2 * self.shape.layers) ** -0.5
        for module in self.modules():
            if isinstance(module, Attention | FeedForward):
                writer = module.out if isinstance(module, Attention) else module.down
                nn.init.normal_(writer.weight, std=small * writer.in_features**-0.5)

    def hidden(
        self, tokens: Int[Tensor, "rows places"], cache: Cache | None = None
    ) -> Float[Tensor, "rows places width"]:
        """The normalised residual stream that logits are made of."""
        seen = cache.places if cache is not None else 0
        end = seen + tokens.shape[1]
        if end > self.shape.context:
            raise IsthmusError(
                f"{end} places are more than the {self.shape.context} of the model: cut the rows"
            )
        x = self.embed(tokens)
        for i, layer in enumerate(self.layers):
            x = layer(x, self.rotation(i, seen, end), cache, i)
        if cache is not None:
            cache.places = end
        normed: Tensor = self.norm(x)
        return normed

    def forward(
        self,
        tokens: Int[Tensor, "rows places"],
        attention_mask: Bool[Tensor, "rows places"] | Int[Tensor, "rows places"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "rows places vocabulary"]:
        """Logits; with a ``cache`` the tokens follow those that it has seen.

        The mask is True at tokens. Rows are padded on the right, where no token can look, so that
        it changes nothing and is only checked.
        """
        if attention_mask is not None:
            mask = attention_mask.bool()
            if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
                raise IsthmusError("a row has tokens after its padding: pad rows on the right")
        return F.linear(self.hidden(tokens, cache), self.embed.weight)


def rotations(places: int, width: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``(places, width / 2)`` of the angles ``place * base**(-2 i / width)``."""
    speeds = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(places, dtype=torch.float64)[:, None] * speeds
    return angles.cos().float(), angles.sin().float()


def rotated(
    x: Float[Tensor, "rows heads places head"], rotation: tuple[Tensor, Tensor]
) -> Float[Tensor, "rows heads places head"]:
    """Turn pairs (i, i + half) of features by each place's angles."""
    cosine, sine = rotation
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, a * sine + b * cosine), -1)
