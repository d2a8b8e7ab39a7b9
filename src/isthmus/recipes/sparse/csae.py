"""The contrastive sparse autoencoder: one dictionary on pairs, for what they share and what not."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    Batch,
    Code,
    Constant,
    Each,
    Gaussian,
    LinearDecoder,
    Look,
    Output,
    Part,
    Scaler,
    Schedule,
    Signal,
    SparseCode,
    Term,
    ThresholdCode,
    Tree,
    Watch,
    expect,
)
from isthmus.anatomy.each import EachLikelihood, EachScaler
from isthmus.bottlenecks import ReLU
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations, preactivations_of
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import L1, MSE, Held, L0Control
from isthmus.objectives.l0_control import Coefficient, count_active
from isthmus.recipes.options import (
    DeadAfter,
    DictionaryDim,
    NonNegative,
    SubtractBias,
    TargetL0,
    check_active,
)
from isthmus.recipes.other_recipe import as_other
from isthmus.recipes.registry import recipe

ACTIVE = 32
"""Active latents of a side, where nothing is said: at most a quarter of the latents."""


@dataclass(eq=False)
class PairCode(SparseCode):
    """The codes of both sides of a pair beside each other, in columns of equal number.

    ``width`` counts the latents of both; those of the second side come behind all of the first's.
    """

    def side(self, second: bool) -> SparseCode:
        """The code of one side, over the dictionary's own latents."""
        half, width = self.values.shape[1] // 2, self.width // 2
        part = slice(half, None) if second else slice(half)
        indices = self.indices[:, part] - (width if second else 0)
        # Columns that only fill up may name any latent.
        return SparseCode(self.values[:, part], indices.clamp(0, width - 1), width)

    def _filled(self, most: int) -> "SparseCode":
        sides = [SparseCode(self.values[:, part], self.indices[:, part], self.width)
                 for part in (slice(self.values.shape[1] // 2),
                              slice(self.values.shape[1] // 2, None))]  # fmt: skip
        sides = [side._filled(most // 2) for side in sides]
        return self.replaced(
            values=torch.cat([side.values for side in sides], 1),
            indices=torch.cat([side.indices for side in sides], 1),
        )


def side_of(code: Code, width: int, second: bool) -> Code:
    """The code of one side over the ``width`` latents of the dictionary, of a pair's code."""
    if isinstance(code, PairCode):
        return code.side(second)
    begin = width if second else 0
    if isinstance(code, SparseCode):
        mine = (code.indices >= begin) & (code.indices < begin + width)
        indices = torch.where(mine, code.indices - begin, 0)
        return SparseCode(torch.where(mine, code.values, 0.0), indices, width)
    return Code(code.z[..., begin : begin + width])


def values_at(code: SparseCode, latents: Tensor) -> Tensor:
    """The code's values at some latents of each row, ``(rows, n)`` as those are; 0 where it is off.

    The code is sorted and searched, so that nothing is as wide as the dictionary.
    """
    # Entries that only fill up are zero, and may name a latent that is on.
    on = torch.where(code.values != 0, code.indices, code.width)
    order = on.argsort(1)
    ascending = on.gather(1, order)
    at = torch.searchsorted(ascending, latents).clamp_max(on.shape[1] - 1)
    values = code.values.gather(1, order.gather(1, at))
    return torch.where(ascending.gather(1, at) == latents, values, 0.0)


class PairEncoder(Part):
    """One linear encoder for both sides: pre-activations of the firsts, then of the seconds."""

    def __init__(self, dictionary: Dictionary, names: tuple[str, ...], subtract_bias: bool) -> None:
        super().__init__()
        self.one = DictionaryEncoder(dictionary, subtract_bias=subtract_bias)
        self.names = names

    def forward(self, x: Tree, *, model: Autoencoder) -> Preactivations:
        rows = torch.cat([x[name].flatten(1) for name in self.names])
        centre = dictionary_behind(model).bias if self.one.subtract_bias else None
        return preactivations_of(rows, self.one.weight, self.one.bias, centre)


class SideDictionary(LinearDecoder, Part):
    """What the latents of one side write to it, by the dictionary that both share."""

    def __init__(self, dictionary: Dictionary, second: bool) -> None:
        super().__init__()
        self.dictionary, self.second = dictionary, second

    def forward(self, *, code: Code) -> Tensor:
        return self.decode(code)

    def decode(self, code: Code) -> Tensor:
        """The reconstruction of the side, ``(rows, *shape)``, in the model's units."""
        return self.dictionary.decode(side_of(code, len(self.dictionary.weight), self.second))

    def atoms(self) -> Tensor:
        """An atom for each latent of both sides, ``(2 latents, d)``: zero for the other side's."""
        none = torch.zeros_like(self.dictionary.weight)
        pair = (none, self.dictionary.weight) if self.second else (self.dictionary.weight, none)
        return torch.cat(pair)

    @property
    def offset(self) -> Tensor:
        """The dictionary's bias, ``(d,)``."""
        return self.dictionary.bias


class PairReLU(ReLU):
    """The rectifier on both sides of each pair; ``width`` latents a side."""

    def __init__(
        self, width: int, dead_after: int, control: "SideControl | None", price: float
    ) -> None:
        super().__init__(2 * width, dead_after, control=control, price=price)

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        both = self._code(h, None)
        rows = len(h) // 2
        if isinstance(both, SparseCode):
            values = torch.cat([both.values[:rows], both.values[rows:]], 1)
            indices = torch.cat([both.indices[:rows], both.indices[rows:] + h.width], 1)
            return PairCode(values, indices, 2 * h.width)
        return ThresholdCode(torch.cat([both.z[:rows], both.z[rows:]], 1))

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start as a dictionary of single rows does, from those of both sides."""
        rows = torch.cat([look.x[name] for name in encoder_of(model).names])
        super().prepare(_single(model, self), replace(look, x=rows))

    @torch.no_grad()
    def shift(self, model: Autoencoder, amount: Tensor) -> None:
        encoder_of(model).one.bias.sub_(amount)


class SideControl(L0Control):
    """Holds the number of active latents of a side: a pair has two rows of them."""

    @torch.no_grad()
    def measure(self, code: Code) -> None:
        counts = count_active(code)
        self.active += counts.sum()
        self.rows += 2 * len(counts)


class PairScaler(EachScaler):
    """Both sides by one scaler, fitted to the rows of both: their difference is what counts."""

    def fit(self, x: Tree, mask: Tree = None) -> None:
        """Estimate it from both sides together."""
        modes = {self[name].mode for name in self.names}
        if len(modes) > 1 or mask is not None:
            raise IsthmusError(
                "both sides of a pair are scaled alike, from rows that are whole: set one scaling "
                "for both, and fill gaps"
            )
        first, *others = (self[name] for name in self.names)
        first.fit(torch.cat([x[name] for name in self.names]))
        for other in others:
            other.load_state_dict(first.state_dict())


class Contrast(Term):
    """``|c+ - c-|_1 + |d+ o d-|_1``: common latents agree, of differential ones one side is off.

    The first ``common`` latents are c, the others d.
    """

    name = "contrast"
    unit = "sum over the latents, in the model's units and their squares"
    rebuilds = False

    def __init__(self, common: int) -> None:
        self.common = common

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code, width = out.code_as(AnySparseCode, self), len(dictionary_behind(model).weight)
        one, other = (side_of(code, width, second) for second in (False, True))
        if not isinstance(one, SparseCode):
            apart = (one.z - other.z)[:, : self.common].abs().sum(1)
            return apart + (one.z * other.z)[:, self.common :].sum(1)
        assert isinstance(other, SparseCode)
        # Of the other side at this side's latents: |a - b| = a + b - 2 min(a, b).
        beside, is_common = values_at(other, one.indices), one.indices < self.common
        sums = [torch.where(s.indices < self.common, s.values, 0.0).sum(1) for s in (one, other)]
        shared = torch.where(is_common, torch.minimum(one.values, beside), 0.0).sum(1)
        overlap = torch.where(is_common, 0.0, one.values * beside).sum(1)
        return sums[0] + sums[1] - 2.0 * shared + overlap


def encoder_of(model: Autoencoder) -> PairEncoder:
    """The encoder of a model of pairs; an :class:`IsthmusError` of any other model."""
    return model.part_as("encoder", PairEncoder, "a dictionary of pairs")


def dictionary_behind(model: Autoencoder) -> Dictionary:
    """The dictionary that both sides of a pair share."""
    decoder = model.part_as("decoder", Each, "a dictionary of pairs")
    first = decoder[encoder_of(model).names[0]]
    return expect(first, SideDictionary, "decoder", "a dictionary of pairs").dictionary


def _single(model: Autoencoder, bottleneck: ReLU) -> Autoencoder:
    """The same parts as a dictionary of single rows."""
    encoder = encoder_of(model)
    return Autoencoder(
        model.signal.parts[encoder.names[0]],
        encoder=encoder.one,
        bottleneck=bottleneck,
        decoder=dictionary_behind(model),
        objective=MSE() * 1.0,
    )


def to_dictionary(model: Autoencoder) -> Autoencoder:
    """A trained model of pairs as a dictionary of single rows, a model of ``relu-l1``.

    Its latents are those of a side, the common ones first, and it can be saved, measured and
    written for others as any dictionary. Any other model is an :class:`IsthmusError`.
    """
    encoder, dictionary = encoder_of(model), dictionary_behind(model)
    scaler = model.scaler
    assert isinstance(scaler, EachScaler)
    scaler = scaler[encoder.names[0]]
    options = {
        "latent_dim": len(dictionary.weight),
        "subtract_bias": encoder.one.subtract_bias,
        "scaling": scaler.mode,
    }
    parts = {"encoder": encoder.one, "decoder": dictionary, "scaler": scaler}
    signal = model.signal.parts[encoder.names[0]]
    single = as_other("relu-l1", signal, options, parts, model.device)
    if model.reference_rows is not None:
        single.reference_rows = Batch(model.reference_rows.x[encoder.names[0]])
    return single


@recipe(
    "csae",
    family="sparse",
    catalogue=179,
    paper="Poupart, Contrastive sparse autoencoders for interpreting planning of chess-playing "
    "agents, 2024, arXiv:2406.04028",
    formula="f+- = ReLU(W_e (h+- - b) + b_e) = [c+-, d+-],  h^+- = W_d f+- + b,  "
    "L = sum_+- (|h - h^|^2 + lambda |f|_1) + gamma (|c+ - c-|_1 + |d+ o d-|_1)",
    claim="Of pairs of states, one on an optimal and one on a suboptimal course, a dictionary "
    "whose first latents have to agree and whose others must not be on together finds what tells "
    "the courses apart in the latter, and what they share in the former.",
    training={"steps": 10_000, "lr": 1e-3, "batch_size": 1024, "clip": 1.0, "warmup": 1000},
    scaling="global",
    kinds=("collection",),
)
def csae(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    common: Annotated[
        int | None,
        Field(ge=0, description="latents of the common block c, the first ones (none: half)"),
    ] = None,
    l0: TargetL0 = None,
    sparsity: Annotated[
        NonNegative | None,
        Field(
            description="lambda: price of the L1 norms of both codes (none: as for an l0 of 32, at "
            "most a quarter of the latents)"
        ),
    ] = None,
    contrast: Annotated[
        NonNegative, Field(description="gamma, as a multiple of lambda (0: a plain dictionary)")
    ] = 1.0,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
) -> Autoencoder:
    """One dictionary for both sides of pairs, divided into what they share and what differs.

    The data are a collection of two parts of one shape, such as ``{"optimal": A, "suboptimal":
    B}``, row by row the two sides of a pair: states of a network at equal depth of two courses from
    the same root, or answers to the same question. The first ``common`` latents pay where the sides
    differ, the others where both sides have them: a linear probe then reads from the differential
    latents which side it is, and should not from the common ones. The authors put the state at the
    root before each side's own (``{"optimal": [root, A], "suboptimal": [root, B]}``).

    ``encode`` gives the codes of both sides beside each other, twice ``latent_dim`` columns: the
    first side's common and differential latents, then the second's. What is measured of active
    latents is that of both sides together; ``l0`` is held for each side.
    ``isthmus.recipes.sparse.csae.to_dictionary(model)`` is the dictionary of single rows.

    Published (the paper and its code): lambda and gamma both 1e-3 beside a squared error summed
    over unscaled activations, latents pay for size times length of their atom, a dictionary 8 times
    as wide as its input, half of it common, Adam at 5e-5, batches of 1000 pairs, gradients clipped
    at 1, lambda and the rate rising over 1000 steps, atoms of norm 1. Here both sides are divided
    by one factor (``scaling=global``), on which 1e-3 means nothing: lambda is found for an ``l0``,
    gamma is that same number, and the rate is that of ``relu-l1``. Of sparse codes |c+ - c-| and
    d+ o d- are computed from the few entries that are on.
    """
    names = tuple(signal.parts)
    if len(names) != 2 or len({part.shape for part in signal.parts.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in signal.parts.items())
        raise IsthmusError(
            f"csae reads pairs, and the data have {shapes}: pass two parts of one shape, row by "
            "row the two sides of a pair"
        )
    check_active(latent_dim, l0=l0)
    shared = latent_dim // 2 if common is None else common
    if shared > latent_dim:
        raise IsthmusError(
            f"common={common} is more than the latent_dim={latent_dim} latents that there are: "
            "choose no more"
        )
    if l0 is None and sparsity is None:
        l0 = min(float(ACTIVE), latent_dim / 4)
    shape = signal.parts[names[0]].shape
    dictionary = Dictionary(latent_dim, shape)
    control = None if l0 is None else SideControl(l0, latent_dim)
    price = 1.0 / dictionary.bias.numel()  # of a mean over both sides
    weight: Schedule = Constant(sparsity or 0.0) if control is None else Held(control)
    objective = MSE() + L1() * weight
    if contrast:
        objective = objective + contrast * (Contrast(shared) * weight)
    if control is not None:
        objective = objective + Watch(Coefficient())
    return Autoencoder(
        signal,
        encoder=PairEncoder(dictionary, names, subtract_bias),
        bottleneck=PairReLU(latent_dim, dead_after, control, price),
        decoder=Each({name: SideDictionary(dictionary, i > 0) for i, name in enumerate(names)}),
        objective=objective,
        likelihood=EachLikelihood({name: Gaussian() for name in names}),
        scaler=PairScaler({name: Scaler(shape, "global") for name in names}),
    )
