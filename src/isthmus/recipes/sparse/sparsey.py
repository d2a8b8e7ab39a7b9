"""Sparsey: a memory that is written once an example, with winners drawn by familiarity."""

from dataclasses import dataclass
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, DiscreteCode, ReportProgress, Signal, Source
from isthmus.errors import IsthmusError
from isthmus.networks.layers import plain
from isthmus.notices import say
from isthmus.objectives import MSE
from isthmus.recipes.options import NonNegative
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float
from isthmus.training.model_rows import model_rows

SIDE = 7
"""Receptive fields along a side of an image, where nobody chose; one for all other signals."""
ONSET, SLOPE, INFLECTION, SHARPNESS = 0.1, 4.0, 1.0, 8.0
"""The sigmoid of a unit's support: sigma_1 to sigma_4 of the formula."""
SILENT = -1.0
"""Stands for the supports of a field in which no element is active."""


# --- the parts -------------------------------------------------------------------------------


class HebbianMemory(nn.Module):
    """Binary weights between the elements of a row and the units of every field; also the readout.

    ``elements`` ``(fields, size)`` numbers the elements that each field sees, filled up with the
    number of elements, where nothing is; ``weights`` ``(fields, modules * units, size)`` are 0 or
    1. Both directions share them. As decoder it reads ``z`` ``(rows, fields * modules * units)``
    of zeros and ones, and gives ``(rows, *shape)``: 1 for an element that every active unit
    whose field sees it has been written together with, else 0 (Willshaw's threshold).
    """

    elements: Tensor
    weights: Tensor

    def __init__(self, shape: tuple[int, ...], elements: Tensor, modules: int, units: int) -> None:
        super().__init__()
        self.shape = shape
        self.per_field, self.units = modules, units
        fields, size = elements.shape
        self.register_buffer("elements", elements)
        self.register_buffer("weights", torch.zeros(fields, modules * units, size))

    def seen(self, active: Tensor) -> Tensor:
        """What each field sees, ``(fields, rows, size)``, of zeros and ones ``(rows, d)``."""
        return F.pad(active, (0, 1))[:, self.elements].transpose(0, 1)

    def supports(self, active: Tensor) -> Float[Tensor, "rows fields modules units"]:
        """Share of the active elements of a field that each of its units has been written with.

        ``-1`` for the units of a field that sees no active element. ``active`` is ``(rows, d)``.
        """
        seen = self.seen(active)
        count = seen.sum(2, keepdim=True)
        shares = (seen @ self.weights.mT) / count.clamp(min=1.0)
        shares = shares.masked_fill(count == 0, SILENT).transpose(0, 1)
        return shares.unflatten(2, (self.per_field, self.units))

    def forward(self, z: Tensor) -> Tensor:
        d = torch.Size(self.shape).numel()
        on = z.unflatten(1, (len(self.weights), -1)).transpose(0, 1)
        votes = on @ self.weights
        winners = on.sum(2, keepdim=True).expand_as(votes)
        counts = []
        for each in (votes, winners):
            flat = each.transpose(0, 1).flatten(1)
            totals = flat.new_zeros(len(z), d + 1)
            counts.append(totals.index_add_(1, self.elements.flatten(), flat)[:, :d])
        agreed = (counts[0] >= counts[1]) & (counts[1] > 0)
        return agreed.to(z.dtype).unflatten(1, self.shape)

    def write(self, active: Tensor, indices: Tensor, open_fields: Tensor) -> None:
        """Set the weights between the active elements of one row and its winners.

        ``active`` ``(1, d)``, ``indices`` ``(fields, modules)``, ``open_fields`` ``(fields,)``.
        """
        fields = open_fields.nonzero()[:, 0]
        first = self.units * torch.arange(self.per_field, device=indices.device)
        places = fields[:, None], (indices + first)[fields]
        seen = self.seen(active)[fields]
        self.weights[places] = torch.maximum(self.weights[places], seen)

    def shares_set(self) -> Tensor:
        """Share of each field's weights that are one, ``(fields,)``."""
        sizes = (self.elements < torch.Size(self.shape).numel()).sum(1)
        return self.weights.sum((1, 2)) / (sizes * self.weights.shape[1])


class Supports(nn.Module):
    """Rows to the supports of the memory's units: an element is active above ``level``."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def active(self, x: Tensor) -> Tensor:
        """Rows as zeros and ones, ``(rows, d)``."""
        return (x.flatten(1) > self.level).float()

    def forward(self, x: Tensor, *, model: Autoencoder) -> Tensor:
        return model.part_as("decoder", HebbianMemory, self).supports(self.active(x))


class Winners(nn.Module):
    """One unit of each module: the one of the largest support, or with ``sample`` a draw.

    It reads supports ``(rows, fields, modules, units)`` and returns a
    :class:`~isthmus.anatomy.DiscreteCode` of ``fields * modules`` positions: ``indices`` from 0 to
    ``units``, where the last says that nothing is active in the field; ``z`` has a one for each
    winner. Of equal supports the first wins. Draws follow :meth:`chances`.
    """

    def __init__(
        self, *, exponent: float, floor: float, expansion: float, expansion_exponent: float
    ) -> None:
        super().__init__()
        self.exponent, self.floor = exponent, floor
        self.expansion, self.expansion_exponent = expansion, expansion_exponent

    @staticmethod
    def familiarity(h: Tensor) -> Float[Tensor, "rows fields"]:
        """G: the mean over modules of the largest support, from 0 to 1; silent fields have -1."""
        return h.amax(3).mean(2)

    def chances(self, h: Tensor) -> Float[Tensor, "rows fields modules units"]:
        """The probability of each unit to win its module: flat where nothing is familiar.

        Range and steepness of the sigmoid grow with familiarity, so that a familiar row has its
        old winners again and a new one is given a code at random.
        """
        units = h.shape[3]
        familiar = ((self.familiarity(h) - self.floor) / (1.0 - self.floor)).clamp(min=0.0)
        spread = self.expansion * units * familiar.pow(self.expansion_exponent)
        v = h.clamp(min=0.0).pow(self.exponent)
        decline = (ONSET * torch.exp(-SLOPE * (v - INFLECTION))).pow(SHARPNESS)
        worth = 1.0 + spread[:, :, None, None] / (1.0 + decline)
        return worth / worth.sum(3, keepdim=True)

    def forward(self, h: Tensor, *, sample: bool = False) -> DiscreteCode:
        units = h.shape[3]
        if sample:
            picks = torch.multinomial(self.chances(h).flatten(0, 2), 1).view(h.shape[:3])
        else:
            picks = h.argmax(3)
        silent = h[..., 0] == SILENT
        z = F.one_hot(picks, units).to(h.dtype).masked_fill(silent[..., None], 0.0).flatten(1)
        indices = picks.masked_fill(silent, units).flatten(1)
        return DiscreteCode(z, indices, z, h.flatten(1), units + 1, per_position=True)


@dataclass
class OnePass:
    """Stores every row once, in an order that the seed draws, and looks at none again.

    A field's weights stay as they are from when the share ``saturation`` of them is set. Figures:
    ``rows`` that were read, ``stored`` of them (that any field learnt), the shares ``set`` of all
    weights and ``full`` of all fields. Rows without an active element are passed over; that no
    row has one is an :class:`IsthmusError`.
    """

    saturation: float

    def fit(self, model: Autoencoder, source: Source, report: ReportProgress) -> dict[str, float]:
        memory = model.part_as("decoder", HebbianMemory, self)
        encoder = model.part_as("encoder", Supports, self)
        bottleneck = model.part_as("bottleneck", Winners, self)
        total, read, stored = len(source), 0, 0
        memory.weights.zero_()
        for some in model_rows(model, source, "sparsey", torch.randperm(total)):
            for active in encoder.active(some.to(memory.weights)).split(1):
                read += 1
                open_fields = memory.shares_set() < self.saturation
                h = memory.supports(active)
                indices = bottleneck(h, sample=True).indices.view(h.shape[1:3])
                learning = open_fields & (indices[:, 0] < memory.units)
                memory.write(active, indices, learning)
                stored += bool(learning.any())
                if read % 100 == 0:
                    report(read, total, "rows stored")
        if not stored:
            raise IsthmusError(
                f"no element of {total} rows lies above level={encoder.level:g}, so that nothing "
                "is active: set level below the values that count"
            )
        full = memory.shares_set() >= self.saturation
        if bool(full.all()):
            say(
                f"all fields of sparsey are full after {stored:,} of {total:,} rows, and whatever "
                "came later is read with what they know: raise units or saturation"
            )
        report(total, total, "done")
        return {
            "rows": float(read),
            "stored": float(stored),
            "set": float(memory.shares_set().mean()),
            "full": float(full.double().mean()),
        }


def familiarity(model: Autoencoder, rows: Any) -> Tensor:
    """How familiar each row is to a fitted memory, ``(rows,)`` from 0 to 1: G of the paper.

    The mean over the fields that see something active; 0 for a row without any. Rows of other
    kinds than what was stored are less familiar.
    """
    code = cast(DiscreteCode, model.encode(rows, code=True))
    memory = model.part_as("decoder", HebbianMemory, familiarity)
    shape = (len(memory.weights), memory.per_field, memory.units)
    fields = Winners.familiarity(code.continuous.unflatten(1, shape))
    heard = fields != SILENT
    return torch.where(heard, fields, 0.0).sum(1) / heard.sum(1).clamp(min=1)


def receptive_fields(shape: tuple[int, ...], side: int) -> Tensor:
    """Elements that each of ``side`` times ``side`` fields of an image sees, ``(fields, size)``.

    Fields lie on an even grid and reach to the centres of their neighbours, in all channels.
    Numbers are filled up by that of the elements.
    """
    channels, height, width = shape
    near = []
    for length in (height, width):
        step = length / side
        centres = (torch.arange(side, dtype=torch.float64) + 0.5) * step - 0.5
        near.append((torch.arange(length) - centres[:, None]).abs() < step)
    inside = near[0][:, None, :, None] & near[1][None, :, None, :]
    inside = inside.flatten(0, 1)[:, None].expand(-1, channels, -1, -1).flatten(1)
    d = inside.shape[1]
    numbers = torch.where(inside, torch.arange(d), d).sort(1).values
    return numbers[:, : int(inside.sum(1).max())]


# --- the recipe ------------------------------------------------------------------------------


@recipe(
    "sparsey",
    family="sparse",
    catalogue=186,
    paper="Rinkus, Leveille, Superposed Episodic and Semantic Memory via Sparse Distributed "
    "Representation, 2017, arXiv:1710.07829; Rinkus, Sparsey: event recognition via deep "
    "hierarchical sparse distributed codes, 2014, doi:10.3389/fncom.2014.00160",
    formula="u_i = sum_j w_ij x_j / sum_j x_j,  G = mean_q max_{i in q} u_i,  "
    "eta = 1 + [(G - G-) / (1 - G-)]_+^chi gamma K,  "
    "p_i ~ 1 + (eta - 1) / (1 + (s1 exp(-s2 (u_i^e - s3)))^s4),  w_ij <- 1 for winners i",
    claim="Storing each example once keeps the similarity of examples as the overlap of their "
    "codes, so that recall and classification come from one memory in a fixed time an example.",
    scaling="none",
    solved=True,
)
def sparsey(
    signal: Signal,
    *,
    modules: Annotated[int, Field(gt=0, description="winner-take-all modules of a field (Q)")] = 24,
    units: Annotated[int, Field(ge=2, description="units of a module, of which one wins (K)")] = 16,
    grid: Annotated[
        int | None,
        Field(
            gt=0,
            description="receptive fields along each side of an image; none: 7, and one field for "
            "all other signals",
        ),
    ] = None,
    level: Annotated[
        float, Field(ge=0, lt=1, description="an element is active where its value is above this")
    ] = 0.5,
    saturation: Annotated[
        float,
        Field(gt=0, le=1, description="share of a field's weights that may be set: then it closes"),
    ] = 0.25,
    expansion: Annotated[
        NonNegative, Field(description="range of the sigmoid at full familiarity, in units (gamma)")
    ] = 100.0,
    expansion_exponent: Annotated[
        float, Field(gt=0, description="how late that range opens as familiarity grows (chi)")
    ] = 2.0,
    floor: Annotated[
        float, Field(ge=0, lt=1, description="familiarity below which codes are random (G-)")
    ] = 0.1,
    exponent: Annotated[
        float, Field(gt=0, description="power to which supports are raised before the sigmoid")
    ] = 10.0,
) -> Autoencoder:
    """One pass over the data writes them into binary weights, on top of each other.

    A field has modules, of each of which one unit is active: the code. An example's support of a
    unit is the share of its active elements that the unit was written with. Where all modules have
    a unit of large support the example is familiar, and its old winners are drawn again; where none
    has, winners are drawn at random; in between the noise falls as familiarity rises, which is
    what makes codes of similar examples overlap. Then every weight between an active element and a
    winner is set to one. Nothing is computed over stored examples, so that storing and recalling
    take the same time however many there are. No gradient is taken; training options other than
    ``seed`` and ``device`` have no effect, and a seed draws the order of the examples and winners.

    Data lie between 0 and 1 and are binary, or made so at ``level``; what is rebuilt is 0 or 1.
    ``encode`` takes the unit of the largest support in each module and gives a one for each winner;
    ``code=True`` has their ``indices``. ``isthmus.recipes.sparse.sparsey.familiarity`` is G, low
    for foreign examples. An image is seen by overlapping fields, each a memory of its own, any
    other signal by one field. A field without an active element is silent. A field closes (its
    critical period ends) when a share of its weights is set: units that were written with
    everything support everything. A wider memory (``units``) holds more before that.

    Published: binary weights that are set once (0 and 127); the formula with its familiarity,
    range and sigmoid; fields that close; levels of fields above one another, for sequences. Passive
    decay of weights, of little effect in the author's account of his experiments, levels, sequences
    and units for labels are not built here: neighbours by code say the class. Numbers of fields,
    modules and constants of the sigmoid differ between publications and programs; G- = 0.1, chi = 2
    and gamma = 100 are those of the author's program, as another port of it reports them, exponent
    and the sigmoid's constants (s1 to s4: 0.1, 4, 1, 8) those of an independent program. Ours are
    24 modules of 16 units, 7 x 7 fields and a quarter of the weights, by a pilot on MNIST at 14 x
    14 pixels. One field of that size confuses 2000 digits whatever its constants, as their units
    have soon been written with all pixels of the middle.
    """
    shape = plain(signal).shape
    if not signal.is_unit:
        raise IsthmusError(
            "sparsey reads values between 0 and 1, of which those above level are active: pass "
            "zeros and ones, for instance of one-hot columns or of values above their median"
        )
    if signal.kind == "image":
        _, height, width = shape
        side = min(SIDE, height, width) if grid is None else grid
        if side > min(height, width):
            raise IsthmusError(
                f"grid={grid} is more than the {min(height, width)} pixels of a side: choose at "
                "most as many"
            )
        elements = receptive_fields(shape, side)
    else:
        if grid not in (None, 1):
            raise IsthmusError(
                f"grid={grid} divides images, and this signal is a {signal}: leave it out"
            )
        elements = torch.arange(torch.Size(shape).numel())[None]
    return Autoencoder(
        signal,
        encoder=Supports(level),
        bottleneck=Winners(
            exponent=exponent,
            floor=floor,
            expansion=expansion,
            expansion_exponent=expansion_exponent,
        ),
        decoder=HebbianMemory(shape, elements, modules, units),
        objective=MSE(),
        solver=OnePass(saturation),
    )
