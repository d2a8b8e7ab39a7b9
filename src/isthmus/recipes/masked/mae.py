"""The masked autoencoder, MAE."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Output, Signal, Term, TokenCode, View, ask
from isthmus.corruptions import RandomPatchMask
from isthmus.errors import IsthmusError
from isthmus.networks import PatchDecoder, PatchEncoder, Patches, VisibleTokens
from isthmus.recipes.options import OwnModule
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float

PATCH = 4
"""The side of a patch that is looked for, in pixels (or elements)."""

COUNTS = {1: (8, 64), 2: (4, 16)}
"""Fewest and most patches along an axis, by the number of axes that are cut."""


VARIANCE_FLOOR = 1e-6
"""Added to the variance of a patch, as in the authors' code."""


def patch_statistics(patches: Float[Tensor, "rows patches dim"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (of n - 1) of each patch, ``(rows, patches, 1)``."""
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return mean, (variance + VARIANCE_FLOOR).sqrt()


class MaskTokenEncoder(nn.Module):
    """The encoder that the paper compares with: it reads a mask token at each hidden place.

    Returns a token for every patch, hidden ones included.
    """

    def __init__(self, encoder: PatchEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, encoder.width))

    def forward(self, x: Tensor, *, view: View) -> VisibleTokens:
        inner = self.encoder
        if view.visible is None:
            return inner(x)
        tokens = inner.embed(inner.patches.patchify(x))
        hidden = _hidden(view.visible, inner.patches.count)
        tokens = torch.where(hidden[..., None], self.mask_token.to(tokens), tokens)
        everywhere = torch.arange(inner.patches.count, device=tokens.device)
        tokens = inner.blocks(tokens + inner.positions)
        return VisibleTokens(tokens, everywhere.expand(tokens.shape[0], -1))


class Turns(NamedTuple):
    """What :class:`HiddenInTurn` returns for a whole example; see :class:`WholeCode`."""

    whole: VisibleTokens
    tokens: Tensor
    places: Tensor
    hidden: Tensor
    mean: Tensor | None
    std: Tensor | None


class HiddenInTurn(nn.Module):
    """Encodes a masked view as it is, and a whole example also with its patches hidden in turn.

    A whole example (``view.visible`` is None) is encoded once as it is and then in views that
    show ``kept`` patches each, as few as hide every patch at least once. Which patches go
    together is drawn once and for all.
    """

    turns: Tensor

    def __init__(
        self, encoder: nn.Module, patches: Patches, kept: int, *, statistics: bool
    ) -> None:
        super().__init__()
        self.encoder, self.patches, self.statistics = encoder, patches, statistics
        count, hidden = patches.count, patches.count - kept
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        starts = range(0, count, hidden)
        visible = [order.roll(-start)[hidden:].sort().values for start in starts]
        self.register_buffer("turns", torch.stack(visible))

    def forward(self, x: Tensor, *, view: View) -> VisibleTokens | Turns:
        if view.visible is not None:
            return self._tokens(view)
        views = [View(x, visible.expand(x.shape[0], -1)) for visible in self.turns]
        seen = [self._tokens(part) for part in views]
        mean = std = None
        if self.statistics:
            mean, std = patch_statistics(self.patches.patchify(x))
        return Turns(
            self._tokens(view),
            torch.stack([part.tokens for part in seen], 1),
            torch.stack([part.visible for part in seen], 1),
            _hidden(self.turns, self.patches.count).expand(x.shape[0], -1, -1),
            mean,
            std,
        )

    def _tokens(self, view: View) -> VisibleTokens:
        tokens: VisibleTokens = ask(self.encoder, view.x, view=view)
        return tokens


@dataclass(eq=False)
class WholeCode(TokenCode):
    """The code of a whole example, with what is needed to predict each patch from others.

    ``turn_tokens`` ``(rows, turns, n, width)`` are the tokens of views that hide the patches in
    turn and ``turn_places`` ``(rows, turns, n)`` their places; ``turn_hidden``
    ``(rows, turns, patches)`` says which patches a view hides. ``mean`` and ``std``
    ``(rows, patches, 1)`` are those of the input's patches, where targets are normalised.
    """

    turn_tokens: Tensor
    turn_places: Tensor
    turn_hidden: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None


class TokenBottleneck(nn.Module):
    """One latent per visible patch; ``z`` is their mean."""

    def forward(self, h: VisibleTokens | Turns, *, sample: bool = False) -> TokenCode:
        if isinstance(h, VisibleTokens):
            return TokenCode(h.tokens.mean(1), h.tokens, h.visible)
        tokens, visible = h.whole
        return WholeCode(
            tokens.mean(1), tokens, visible, h.tokens, h.places, h.hidden, h.mean, h.std
        )


class RebuildHidden(nn.Module):
    """Decodes a masked view as it is, and a :class:`WholeCode` turn by turn.

    Each patch is the mean of its predictions from the views that hide it, in the model's units.
    """

    def __init__(self, decoder: nn.Module, patches: Patches) -> None:
        super().__init__()
        self.decoder, self.patches = decoder, patches

    def forward(self, *, code: TokenCode) -> Float[Tensor, "rows *shape"]:
        if not isinstance(code, WholeCode):
            return ask(self.decoder, code=code)
        hidden = code.turn_hidden.to(code.z)[..., None]
        rebuilt = torch.zeros_like(hidden[:, 0])
        for turn in range(hidden.shape[1]):
            part = TokenCode(code.z, code.turn_tokens[:, turn], code.turn_places[:, turn])
            rebuilt = rebuilt + hidden[:, turn] * self.patches.patchify(
                ask(self.decoder, code=part)
            )
        rebuilt = rebuilt / hidden.sum(1)
        if code.mean is not None and code.std is not None:
            rebuilt = rebuilt * code.std + code.mean
        return self.patches.unpatchify(rebuilt)


def _hidden(visible: Tensor, count: int) -> Tensor:
    """Bool ``(rows, count)``: which patches are not in ``visible`` ``(rows, kept)``."""
    everything = torch.ones(visible.shape[0], count, dtype=torch.bool, device=visible.device)
    return everything.scatter(1, visible, False)


class MaskedMSE(Term):
    """Squared error on the hidden patches, averaged over their elements (He et al. 2021).

    With ``normalise`` each patch of the target is first set to mean 0 and variance 1 over its own
    elements. With ``everywhere`` the visible patches count too.
    """

    name = "masked_mse"
    unit = "squared error per element, in the model's units or normalised per patch"

    def __init__(self, patches: Patches, *, normalise: bool, everywhere: bool = False) -> None:
        self.patches, self.normalise, self.everywhere = patches, normalise, everywhere

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        target = self.patches.patchify(out.target)
        if self.normalise:
            mean, std = patch_statistics(target)
            target = (target - mean) / std
        error = (self.patches.patchify(out.need_params()) - target).square().mean(2)
        visible = out.views[0].visible
        if self.everywhere or visible is None:
            return error.mean(1)
        return error.scatter(1, visible, 0.0).sum(1) / (self.patches.count - visible.shape[1])


def patch_size(signal: Signal) -> tuple[int, ...]:
    """Along each axis the divisor nearest to 4 that gives a sensible number of patches.

    Sensible are 4 to 16 patches along each side of an image, 8 to 64 along a vector or series;
    where no divisor gives that, a patch is one pixel (element) long.
    """
    sides = signal.shape[1:] if signal.kind == "image" else signal.shape[:1]
    fewest, most = COUNTS[len(sides)]
    sizes = []
    for side in sides:
        fitting = [p for p in range(1, side + 1) if side % p == 0 and fewest <= side // p <= most]
        sizes.append(min(fitting, key=lambda p: abs(p - PATCH), default=1))
    return tuple(sizes)


@recipe(
    "mae",
    family="masked",
    catalogue=33,
    paper="He, Chen, Xie, Li, Dollar, Girshick, Masked Autoencoders Are Scalable Vision Learners, "
    "CVPR 2022, arXiv:2111.06377",
    formula="L = mean over hidden patches of |x^p - g(f(visible))|^2 / n_p,  x^p normalised per "
    "patch",
    claim="Hiding most patches from an encoder that sees only the rest learns better features than "
    "hiding few, and is at least 3 times faster than giving the encoder mask tokens.",
    training={
        "epochs": 800,
        "batch_size": 4096,
        "lr": 1.5e-4,
        "lr_batch": 256,
        "optimiser": "adamw",
        "optimiser_options": {"betas": [0.9, 0.95]},
        "weight_decay": 0.05,
        "groups": ({"ndim": 1, "weight_decay": 0.0},),
        "lr_schedule": "cosine",
        "warmup": 12_500,
    },
)
def mae(
    signal: Signal,
    *,
    latent_dim: Annotated[int, Field(gt=0, description="number of latents")] = 96,
    depth: Annotated[int, Field(gt=0, description="transformer blocks of the encoder")] = 4,
    heads: Annotated[int, Field(gt=0, description="attention heads, encoder and decoder")] = 4,
    decoder_width: Annotated[int, Field(gt=0, description="width of the decoder")] = 64,
    decoder_depth: Annotated[int, Field(gt=0, description="transformer blocks of the decoder")] = 2,
    patch: Annotated[
        int | None,
        Field(gt=0, description="side of a patch in pixels or elements; none: near 4, a divisor"),
    ] = None,
    mask_ratio: Annotated[float, Field(gt=0, lt=1, description="share of hidden patches")] = 0.75,
    normalise: Annotated[
        bool | None,
        Field(description="normalise each patch of the target; none: for images, not otherwise"),
    ] = None,
    loss_on: Annotated[
        Literal["hidden", "all"], Field(description="which patches the loss counts")
    ] = "hidden",
    mask_tokens: Annotated[
        Literal["decoder", "encoder"],
        Field(description="where mask tokens enter; the encoder is the paper's slow comparison"),
    ] = "decoder",
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """Hide three quarters of the patches, and predict them from those that remain.

    A vision transformer encodes the visible patches only; a small decoder puts one learned mask
    token at every hidden place and predicts the pixels there. ``z`` is the mean of the encoder's
    tokens over all patches of the uncorrupted example, which the paper finds as good as a class
    token. Images are cut into squares, vectors and series into chunks.

    A patch that the encoder saw is never trained on, so the decoder's output there means nothing.
    ``reconstruct``, ``score`` and ``decode`` therefore hide fixed parts of the patches in turn,
    in as few views as let every patch be hidden once, and show for each patch what was predicted
    while it was hidden: the score is the error of predicting each part from others. With
    ``normalise`` only the pattern within a patch is predicted. Its mean and standard deviation
    are then the input's own, as in the paper's figures; read the error accordingly.

    Published, and the defaults here: 75 % hidden, targets normalised per patch, AdamW with betas
    (0.9, 0.95) and decay 0.05 (none on biases and normalisation), 1.5e-4 times batch / 256,
    batches of 4096, a cosine over 800 epochs after 40 of warm-up (12,500 steps on ImageNet; cut
    to a tenth of a shorter run). Other than published: the sizes suit small images (patches of
    about 4 pixels, width 96, 4 blocks; decoder 64, 2 blocks) where ViT-L has patches of 16, width
    1024 and 24 blocks, its decoder 512 and 8. Examples are not cropped or flipped, which the
    paper can do without. An own ``encoder`` reads x and its ``view`` and returns
    ``VisibleTokens``; an own ``decoder`` reads the ``code``, a ``TokenCode``.
    """
    size = patch_size(signal) if patch is None else patch
    patches = Patches(signal, size)
    mask = RandomPatchMask(patches, mask_ratio)
    if mask.kept == mask.count:
        raise IsthmusError(
            f"mask_ratio={mask_ratio} hides none of {mask.count} patches: raise it, or set a "
            "smaller patch"
        )
    if normalise is None:
        normalise = signal.kind == "image" and patches.dim > 1
    elif normalise and patches.dim == 1:
        raise IsthmusError("a patch of one element has no variance: set normalise=False")
    if encoder is None:
        encoder = PatchEncoder(signal, latent_dim, depth, heads, size)
        if mask_tokens == "encoder":
            encoder = MaskTokenEncoder(encoder)
    decoder = decoder or PatchDecoder(signal, latent_dim, decoder_width, decoder_depth, heads, size)
    return Autoencoder(
        signal,
        corruption=mask,
        encoder=HiddenInTurn(encoder, patches, mask.kept, statistics=normalise),
        bottleneck=TokenBottleneck(),
        decoder=RebuildHidden(decoder, patches),
        objective=MaskedMSE(patches, normalise=normalise, everywhere=loss_on == "all"),
    )
