"""Transformers on patches: the masked autoencoder's pair, and a general encoder and decoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from isthmus.anatomy import Signal, TokenCode, View
from isthmus.networks.attention import blocks, init_linears
from isthmus.networks.layers import activation_layer
from isthmus.networks.patches import Patches
from isthmus.networks.positions import sincos
from isthmus.shapes import Float

__all__ = [
    "PatchDecoder", "PatchEncoder", "Patches", "TransformerDecoder", "TransformerEncoder",
    "VisibleTokens",
]  # fmt: skip

TOKEN_STD = 0.02
"""Standard deviation of the class and mask tokens at the start (He et al. 2021)."""


class VisibleTokens(NamedTuple):
    """What :class:`PatchEncoder` returns, for a bottleneck to make a ``TokenCode`` of.

    ``tokens`` is ``(rows, visible, width)``; ``visible`` int64 ``(rows, visible)`` says which
    patches these are, in the same order.
    """

    tokens: Tensor
    visible: Tensor


class PatchEncoder(nn.Module):
    """A vision transformer that sees only the visible patches (He et al. 2021, section 3).

    Reads ``x`` ``(rows, *shape)`` and, where there is one, its :class:`View`, and returns
    :class:`VisibleTokens`, one token for each patch in ``view.visible``, in its order; for every
    patch where that is None.
    Hidden patches are dropped before the first layer, so they cost nothing and nothing of them
    can reach the tokens. A class token, where there is one, takes part in attention and is then
    left out of the result: the paper finds the mean of the patch tokens as good.
    """

    def __init__(
        self,
        signal: Signal,
        width: int = 96,
        depth: int = 4,
        heads: int = 4,
        patch: int | tuple[int, ...] | None = 4,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        self.patches = Patches(signal, patch)
        self.width = width
        self.embed = nn.Linear(self.patches.dim, width)
        self.blocks = blocks(width, depth, heads)
        self.positions: Tensor
        self.register_buffer("positions", sincos(self.patches.grid, width), persistent=False)
        init_linears(self)
        start = torch.randn(1, 1, width) * TOKEN_STD if class_token else None
        self.class_token = None if start is None else nn.Parameter(start)

    def forward(
        self, x: Float[Tensor, "rows *shape"], *, view: View | None = None
    ) -> VisibleTokens:
        patches = self.patches.patchify(x)
        visible = None if view is None else view.visible
        rows = patches.shape[0]
        if visible is None:
            visible = torch.arange(self.patches.count, device=patches.device).expand(rows, -1)
            tokens = self.embed(patches) + self.positions
        else:
            seen = patches.gather(1, visible[..., None].expand(-1, -1, self.patches.dim))
            tokens = self.embed(seen) + self.positions[visible]
        if self.class_token is None:
            return VisibleTokens(self.blocks(tokens), visible)
        # The class token has no place, hence no position: in the paper its position is zero.
        tokens = torch.cat((self.class_token.expand(rows, -1, -1).to(tokens), tokens), dim=1)
        return VisibleTokens(self.blocks(tokens)[:, 1:], visible)


class PatchDecoder(nn.Module):
    """Rebuilds the whole signal from the visible tokens (He et al. 2021, section 3).

    Reads a :class:`TokenCode` with tokens ``(rows, visible, encoder_width)``, puts one learned
    mask token at every place that is missing, adds positions, and returns ``(rows, *shape)``.
    """

    def __init__(
        self,
        signal: Signal,
        encoder_width: int = 96,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        patch: int | tuple[int, ...] | None = 4,
    ) -> None:
        super().__init__()
        self.patches = Patches(signal, patch)
        self.width = width
        self.embed = nn.Linear(encoder_width, width)
        self.blocks = blocks(width, depth, heads)
        self.head = nn.Linear(width, self.patches.dim)
        self.positions: Tensor
        self.register_buffer("positions", sincos(self.patches.grid, width), persistent=False)
        init_linears(self)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * TOKEN_STD)

    def forward(self, *, code: TokenCode) -> Float[Tensor, "rows *shape"]:
        seen = self.embed(code.tokens)
        everywhere = self.mask_token.to(seen).expand(seen.shape[0], self.patches.count, -1)
        places = code.visible[..., None].expand(-1, -1, self.width)
        tokens = everywhere.scatter(1, places, seen) + self.positions
        return self.patches.unpatchify(self.head(self.blocks(tokens)))


class TransformerEncoder(nn.Module):
    """A transformer on all patches, averaged: ``(rows, *shape)`` to ``(rows, out_dim)``.

    ``patch=None`` chooses a size that fits the signal (see :class:`Patches`).
    """

    def __init__(
        self,
        signal: Signal,
        out_dim: int,
        width: int = 96,
        depth: int = 4,
        heads: int = 4,
        patch: int | tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.tokens = PatchEncoder(signal, width, depth, heads, patch)
        self.head = nn.Linear(width, out_dim)
        init_linears(self.head)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows out"]:
        return self.head(self.tokens(x).tokens.mean(1))


class TransformerDecoder(nn.Module):
    """From a vector latent to every patch: ``(rows, latent_dim)`` to ``(rows, *shape)``.

    Each patch starts as its own linear map of ``z``, plus its position; the blocks then relate
    them. (On digits, one map shared by all patches left twice the error.)
    ``final`` is an activation on the output.
    """

    def __init__(
        self,
        signal: Signal,
        latent_dim: int,
        width: int = 96,
        depth: int = 4,
        heads: int = 4,
        patch: int | tuple[int, ...] | None = None,
        final: str = "identity",
    ) -> None:
        super().__init__()
        self.patches = Patches(signal, patch)
        self.embed = nn.Linear(latent_dim, self.patches.count * width)
        self.blocks = blocks(width, depth, heads)
        self.head = nn.Linear(width, self.patches.dim)
        self.final = activation_layer(final)
        self.positions: Tensor
        self.register_buffer("positions", sincos(self.patches.grid, width), persistent=False)
        init_linears(self)

    def forward(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows *shape"]:
        tokens = self.embed(z).unflatten(1, self.positions.shape) + self.positions
        return self.patches.unpatchify(self.final(self.head(self.blocks(tokens))))
