"""Temporal feature analysis: what the text before predicts, and a sparse code of what is new."""

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    LinearDecoder,
    Output,
    Part,
    Signal,
    SparseCode,
    Term,
    Watch,
    unstored,
)
from isthmus.errors import IsthmusError
from isthmus.kernels import adaptive_decode
from isthmus.networks.context_attention import ContextAttention
from isthmus.objectives import MSE
from isthmus.recipes.options import NonNegative
from isthmus.recipes.registry import recipe

WIDER, ACTIVE_SHARE = 4, 12
"""Latents for an element of a position, and elements for an active latent, as published."""
_TINY = 1e-6


@dataclass(eq=False)
class TemporalCode(AnySparseCode):
    """What is new at each position, sparse, and what was predicted of it, dense.

    ``values`` and ``indices`` are ``(texts, positions, most)``, ``predicted`` ``(texts, positions,
    width)`` codes of the same atoms. ``there`` ``(texts, positions)`` says which positions are no
    filling; both kinds are zeros where they are. ``z`` is what is new, ``(texts, positions,
    width)``.
    """

    values: Tensor
    indices: Tensor
    predicted: Tensor
    there: Tensor
    # With ``field``, or the base's property would be taken for the default.
    width: int = field()
    preactivations: None = unstored()
    gates: None = unstored()

    @property
    def z(self) -> Tensor:  # type: ignore[override]
        return self.positions().z.unflatten(0, self.values.shape[:2])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def entries(self) -> Tensor:
        """The values that may differ from zero, ``(texts, positions * most)``."""
        return self.values.flatten(1)

    def positions(self) -> SparseCode:
        """What is new, a row for each position, filling among them."""
        return SparseCode(self.values.flatten(0, 1), self.indices.flatten(0, 1), self.width)

    def by_position(self) -> SparseCode:
        """What is new, a row for each position that is there."""
        return self.positions().take(self.there.flatten())

    def active(self) -> tuple[Tensor, Tensor, Tensor]:
        """Text, latent and value of what is new, at whichever position, each ``(entries,)``."""
        on = self.values != 0
        return torch.nonzero(on)[:, 0], self.indices[on], self.values[on]


@dataclass(frozen=True, eq=False)
class Foreseen:
    """What attention leaves of the positions ``(texts, positions, d)``, and the codes it gave."""

    residual: Tensor
    codes: Tensor


class Foresight(nn.Module):
    """Takes off each position what the codes of those before it predict.

    ``x``, divided by the decoder's unit and less its bias, is read by the atoms (or, where
    ``weight`` is there, by weights of its own, ``(width, d)``); each layer of attention predicts
    codes, and the multiple of what these write that is nearest to x is taken off.
    """

    def __init__(
        self, width: int, inputs: int, heads: int, layers: int, narrow: int, tied: bool
    ) -> None:
        super().__init__()
        self.attn_layers = nn.ModuleList(
            ContextAttention(width, heads, narrow) for _ in range(layers)
        )
        self.weight = None if tied else nn.Parameter(torch.randn(width, inputs))

    def read(self, x: Tensor, decoder: "Atoms") -> Tensor:
        """Codes of what is read, rectified, ``(texts, positions, width)``."""
        rows = decoder.weight if self.weight is None else self.weight
        return torch.relu(x @ rows.T / (4 * x.shape[-1]))

    def forward(self, x: Tensor, *, model: Autoencoder) -> Foreseen:
        decoder = model.part_as("decoder", Atoms, self)
        x = x / decoder.size - decoder.bias
        codes = x.new_zeros(*x.shape[:-1], len(decoder.weight))
        for layer in self.attn_layers:
            prediction = layer(self.read(x, decoder))
            written = prediction @ decoder.weight
            length = written.norm(dim=-1, keepdim=True) + _TINY
            share = (written * x).sum(-1, keepdim=True) / length.square()
            codes = codes + share * prediction
            x = x - share * written
        return Foreseen(x, codes)


class Novelty(nn.Module):
    """The code of what was not predicted: rectified, the ``k`` largest of a position (or all)."""

    def __init__(self, k: int | None) -> None:
        super().__init__()
        self.k = k

    def forward(self, h: Foreseen, *, model: Autoencoder, mask: Tensor | None) -> TemporalCode:
        u = model.part_as("encoder", Foresight, self).read(
            h.residual, model.part_as("decoder", Atoms, self)
        )
        presence, prediction = torch.ones(u.shape[:2], dtype=torch.bool, device=u.device), h.codes
        if mask is not None:
            presence = mask.expand(h.residual.shape).any(-1) if mask.ndim == 3 else mask.bool()
            prediction = prediction * presence[..., None]
        width = u.shape[-1]
        if self.k is None:
            values, indices = u, torch.arange(width, device=u.device).expand(u.shape)
        else:
            values, indices = u.topk(self.k, dim=-1)
        return TemporalCode(values * presence[..., None], indices, prediction, presence, width)


class Atoms(LinearDecoder, Part):
    """``size (D^T (z + predicted) + b)``: both kinds of codes are of the atoms ``weight``.

    ``size`` is the length that a row of the model's units has beside the unit in which codes are
    computed: the root of its number of elements, so that rows are read at length 1 as published.
    """

    latents_suffice: ClassVar[bool] = False

    def __init__(self, width: int, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, d))
        self.bias = nn.Parameter(torch.zeros(d))
        self.size = math.sqrt(d)

    def atoms(self) -> Tensor:
        """What one unit of each latent adds to a position, ``(width, d)``."""
        return self.size * self.weight

    @property
    def offset(self) -> Tensor:
        """What is rebuilt of a position where nothing is predicted and nothing is new, ``(d,)``."""
        return self.size * self.bias

    def forward(self, *, code: TemporalCode) -> Tensor:
        return self.decode(code)

    def decode(self, code: TemporalCode) -> Tensor:  # type: ignore[override]
        """The positions, ``(texts, positions, d)``."""
        if code.values.shape[-1] == code.width:  # all that is positive, with activation=relu
            return self.size * ((code.z + code.predicted) @ self.weight + self.bias)
        new = adaptive_decode(code.values.flatten(0, 1), code.indices.flatten(0, 1), self.weight)
        flat = new.unflatten(0, code.values.shape[:2]) + code.predicted @ self.weight
        return self.size * (flat + self.bias)

    def predicted(self, code: TemporalCode) -> Tensor:
        """The part of the positions that was predicted, ``(texts, positions, d)``, without bias."""
        return self.size * (code.predicted @ self.weight)


class NoveltyLength(Term):
    """The length of what is new at a position, ``|z|_2``, averaged over the positions."""

    name = "novelty_length"
    unit = "length of the codes, in the unit in which they are computed"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(TemporalCode, self)
        counts = code.there.sum(1).clamp_min(1)
        # The gradient of a length is not defined at 0.
        return code.values.square().sum(-1).clamp_min(1e-24).sqrt().sum(1) / counts


class PredictedEnergy(Term):
    """Share of the squared length that was predicted: of a position ``|p|^2 / (|p|^2 + |n|^2)``."""

    name = "predicted_energy"
    unit = "fraction"
    rebuilds = True

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        decoder = model.part_as("decoder", Atoms, self)
        prediction = decoder.predicted(out.code_as(TemporalCode, self))
        rest = out.need_params() - prediction - decoder.offset
        p, n = (part.square().flatten(1).sum(1) for part in (prediction, rest))
        return p / (p + n).clamp_min(1e-12)


@recipe(
    "temporal",
    family="sequence",
    paper="Lubana, Rager, Hindupur, Costa, Tuckute, Patel, Murthy, Fel, Wurgaft, Bigelow, Lin, Ba, "
    "Wattenberg, Viegas, Weber, Mueller, Priors in Time: Missing Inductive Biases for Language "
    "Model Interpretability, 2025, arXiv:2511.01836",
    formula="p_t = a D^T g_t,  g_t = ReLU(attention(z'_<t)),  z' = ReLU(E x / 4d);  "
    "n_t = TopK(ReLU(E (x_t - p_t) / 4d)),  x^_t = p_t + D^T n_t + b,  L = |x - x^|^2 / d",
    claim="Most of an activation is predicted by the text before it; what is left is new at that "
    "token, and a code of that alone is of events where dictionaries of single tokens split slow "
    "context into many latents.",
    training={
        "steps": 200_000,
        "lr": 1e-3,
        "batch_size": 100,
        "optimiser": "adamw",
        "optimiser_options": {"betas": (0.9, 0.95)},
        "weight_decay": 1e-4,
        "warmup": 200,
        "clip": 1.0,
    },
    scaling="global",
    kinds=("series", "ragged"),
)
def temporal(
    signal: Signal,
    *,
    latent_dim: Annotated[
        int | None, Field(gt=0, description="number of latents (none: four for each element)")
    ] = None,
    k: Annotated[
        int | None,
        Field(gt=0, description="new latents of a position (none: one for twelve elements)"),
    ] = None,
    activation: Annotated[
        Literal["topk", "relu"],
        Field(description="keep k latents of a position, or all that are positive at a price"),
    ] = "topk",
    sparsity: Annotated[
        NonNegative, Field(description="price of the length of what is new, with relu")
    ] = 10.0,
    heads: Annotated[int, Field(gt=0, description="heads of a layer of attention")] = 4,
    layers: Annotated[int, Field(gt=0, description="layers of attention")] = 1,
    narrow: Annotated[
        int, Field(gt=0, description="keys and queries have a so-many-th of the latents' width")
    ] = 1,
    tied: Annotated[bool, Field(description="read with the atoms themselves")] = True,
) -> Autoencoder:
    """A dictionary of texts: what of a token's activation those before it predict, and what is new.

    It reads rows of positions, ``(texts, positions, elements)``, of one length or of different ones
    (a list), such as a store's ``texts("layers.1")`` of a harvest. Attention over the codes of the
    positions before predicts a code, whose multiple nearest to the activation is taken off; what is
    left has a sparse code of its own, of the same atoms. ``encode`` gives what is new, ``(texts,
    positions, latents)``; ``encode(X, code=True)`` has both, as ``decode`` needs them, and
    ``model.decoder.predicted(code)`` is the slow part. L0 and firing rates are of positions,
    features those of whole texts.

    Published: four latents for each element of Gemma-2-2B's 2304, k 192 (a twelfth), 4 heads, one
    layer, keys as wide as the code, tied weights, atoms drawn from N(0, 1) and never normalised,
    AdamW at 1e-3 with betas (0.9, 0.95) and decay 1e-4, gradients clipped at 1, 100 texts of 500
    tokens, activations scaled to length 1 or so. With ``activation=relu`` all that is positive is
    kept, and its length costs 10. The rate falls by a tenth over the run; here it does not. The
    first token of a text is predicted from zeros.

    A step costs the attention's matrices of ``latents x latents`` above all: 340 million numbers at
    the published width. Files of the authors and of SAELens are read (``isthmus.from_pretrained``).
    """
    if len(signal.shape) != 2:
        raise IsthmusError(
            f"temporal reads rows of positions, (texts, positions, elements), and these rows have "
            f"the shape {signal.shape}: reshape the data, or choose topk for single vectors"
        )
    d = signal.shape[-1]
    width = WIDER * d if latent_dim is None else latent_dim
    if latent_dim is None:
        width = -(-width // (heads * narrow)) * heads * narrow
    most = max(1, d // ACTIVE_SHARE) if k is None else k
    if k is not None and activation == "relu":
        raise IsthmusError("k is for activation=topk: leave it out, or leave out activation=relu")
    if most > width:
        raise IsthmusError(f"k={most} is more than latent_dim={width}: choose a smaller k")
    objective = MSE() + Watch(PredictedEnergy())
    if activation == "relu":
        objective = objective + sparsity * NoveltyLength()
    return Autoencoder(
        signal,
        encoder=Foresight(width, d, heads, layers, narrow, tied),
        bottleneck=Novelty(most if activation == "topk" else None),
        decoder=Atoms(width, d),
        objective=objective,
    )
