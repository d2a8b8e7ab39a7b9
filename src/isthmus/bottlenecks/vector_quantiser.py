"""Codebooks of vectors: each latent becomes the nearest entry."""

import math
import warnings
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import (
    Autoencoder,
    Batch,
    Clock,
    DiscreteCode,
    Look,
    Output,
    Part,
    Step,
    View,
    evaluating,
    tree,
)
from isthmus.errors import IsthmusError
from isthmus.kernels.dispatch import is_reference
from isthmus.shapes import Float, Int

Start = Literal["encodings", "kmeans", "uniform"]

LOOKED_AT = 64
"""Encodings for each entry that a codebook is started from, where there are as many."""
ROWS_AT_ONCE = 256
LARGEST_TABLE = 1 << 24
"""Distances held at once: it bounds the memory."""


class VectorQuantiser(Part):
    """Sets each of ``positions`` latents of ``dim`` numbers to the nearest of ``entries`` vectors.

    It reads ``(rows, positions * dim)``, position by position, and returns a
    :class:`~isthmus.anatomy.DiscreteCode` of the same shape, ``indices`` ``(rows, positions)``.
    Gradients pass straight through to the encoder (van den Oord, Vinyals, Kavukcuoglu 2017,
    section 3.2). All positions share the codebook, ``values`` ``(entries, dim)``. Of entries that
    are equally near the first is taken.

    decay
        With a number, ``values`` is a buffer and no gradient reaches it: each entry is the average
        of the encodings that chose it, exponential over the steps (appendix A.1), ``uses``
        ``(entries,)`` the average number of these. None makes ``values`` a parameter, for a term
        such as :class:`~isthmus.objectives.Quantise` to train.
    start
        What the codebook starts from: random ``"encodings"`` of the data, their ``"kmeans"``, or
        ``"uniform"`` entries of expected squared length 1, whatever the data.
    restart_after
        Rows trained on, after which an entry that none of them chose is set to an encoding of the
        present step (at most a tenth of the run); None is never (Dhariwal et al. 2020, "Jukebox",
        section 3.1; Williams et al. 2020, "Hierarchical Quantized Autoencoders").
    """

    values: Tensor
    uses: Tensor
    unused_rows: Tensor

    def __init__(
        self,
        entries: int,
        dim: int,
        *,
        positions: int = 1,
        decay: float | None = 0.99,
        start: Start = "encodings",
        restart_after: int | None = None,
    ) -> None:
        super().__init__()
        self.entries, self.dim, self.positions = entries, dim, positions
        self.decay, self.begin_from, self.restart_after = decay, start, restart_after
        bound = math.sqrt(3.0 / dim)
        values = torch.empty(entries, dim).uniform_(-bound, bound)
        if decay is None:
            self.values = nn.Parameter(values)
        else:
            self.register_buffer("values", values)
            # As if each entry had been chosen once: until it is, it stays where it started.
            self.register_buffer("uses", torch.ones(entries))
        self.register_buffer("unused_rows", torch.zeros(entries, dtype=torch.int64))

    def forward(self, h: Float[Tensor, "rows features"], *, sample: bool = False) -> DiscreteCode:
        indices = self.nearest(self._vectors(h)).unflatten(0, (-1, self.positions))
        quantised = self.indices_to_codes(indices)
        # h - h is exactly zero, so that z is exactly an entry while its gradient is that of h.
        z = quantised.detach() + (h - h.detach())
        return DiscreteCode(z, indices, quantised, h, self.entries)

    @torch.no_grad()
    def nearest(self, vectors: Float[Tensor, "n dim"]) -> Int[Tensor, "n"]:
        """The nearest entry of each vector."""
        # From the codebook's middle, or rounding would hide small distances far from zero.
        middle = self.values.mean(0)
        values = self.values - middle
        halves = 0.5 * values.square().sum(1)
        indices = []
        # In half precision another entry would often seem the nearest.
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = vectors.to(values.dtype)
            most = max(1, LARGEST_TABLE // self.entries)
            for some in (vectors,) if is_reference() else vectors.split(most):
                indices.append(torch.addmm(halves, some - middle, values.T, alpha=-1).argmin(1))
        return torch.cat(indices)

    def indices_to_codes(self, indices: Int[Tensor, "rows positions"]) -> Float[Tensor, "rows z"]:
        """The latents ``(rows, positions * dim)`` that entries stand for."""
        return self.values[indices].flatten(1)

    def draw(self, n: int) -> Float[Tensor, "n z"]:
        """``n`` codes, each position uniform over the entries."""
        drawn = torch.randint(self.entries, (n, self.positions))
        return self.indices_to_codes(drawn.to(self.values.device))

    # --- what training changes beside gradients ---------------------------------------------------

    @torch.no_grad()
    def observe(self, out: Output, step: Step) -> None:
        """Move the averages by a step's rows, and restart entries that have long been unused."""
        code = out.code_as(DiscreteCode, self)
        vectors, indices = self._vectors(code.continuous), code.indices.flatten()
        counts, sums = self._added_up(vectors, indices)
        if self.decay is not None:
            self._average(counts, sums)
        self.unused_rows += len(code)
        self.unused_rows.masked_fill_(counts > 0, 0)
        if self.restart_after is not None:
            self._restart(vectors, self._dead(step.clock))

    def _added_up(self, vectors: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """How many vectors chose each entry, ``(entries,)``, and their sum, ``(entries, dim)``."""
        counts, sums = torch.zeros_like(self.values[:, 0]), torch.zeros_like(self.values)
        size = max(1, LARGEST_TABLE // self.entries)
        with torch.autocast(vectors.device.type, enabled=False):
            for some, entry in zip(vectors.split(size), indices.split(size), strict=True):
                # A product, since sums by index come out in another order each time on a GPU.
                choice = F.one_hot(entry, self.entries).to(sums)
                counts += choice.sum(0)
                sums += choice.T @ some.to(sums)
        return counts, sums

    def _average(self, counts: Tensor, sums: Tensor) -> None:
        """The quotient of averages of appendix A.1, solved for the change of ``values``.

        Where an entry is not chosen both averages fade, and their quotient would end as 0 / 0;
        this way the entry stays exactly where it is.
        """
        assert self.decay is not None
        share = 1.0 - self.decay
        self.uses.lerp_(counts, share)
        step = share * (sums - counts[:, None] * self.values) / self.uses[:, None]
        self.values += torch.where(counts[:, None] > 0, step, 0.0)

    def _dead(self, clock: Clock) -> Tensor:
        """Bool ``(entries,)``: which have been unused for too long."""
        assert self.restart_after is not None
        tenth = max(1, clock.total * clock.rows_per_step // 10)
        return self.unused_rows >= min(self.restart_after, tenth)

    def _restart(self, vectors: Tensor, dead: Tensor) -> None:
        """Set the ``dead`` entries to some of the vectors; nothing is waited for."""
        self.values.copy_(torch.where(dead[:, None], self._some(vectors), self.values))
        if self.decay is not None:
            self.uses.masked_fill_(dead, 1.0)
        self.unused_rows.masked_fill_(dead, 0)

    def _some(self, vectors: Tensor) -> Tensor:
        """As many of the vectors as there are entries, at random; all of them before any twice."""
        order = torch.randperm(len(vectors))
        order = order.repeat(-(-self.entries // len(order)))[: self.entries]
        return vectors[order.to(vectors.device)].to(self.values)

    # --- the start ----------------------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start the codebook from encodings of the data."""
        if self.begin_from != "uniform":
            self.start(self._encodings(model, look))

    @torch.no_grad()
    def start(self, vectors: Float[Tensor, "n dim"]) -> None:
        """Start the codebook from vectors: some of them, or their k-means."""
        if self.begin_from != "kmeans" or len(vectors) <= self.entries:
            self.values.copy_(self._some(vectors))
            return
        # Slow to import, and only this needs it.
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        seed = int(torch.randint(2**31 - 1, ()))
        kmeans = KMeans(self.entries, n_init=1, random_state=seed)
        with warnings.catch_warnings():
            # Fewer distinct encodings than entries leave some of these alike.
            warnings.simplefilter("ignore", ConvergenceWarning)
            kmeans.fit(vectors.double().cpu().numpy())
        self.values.copy_(torch.from_numpy(kmeans.cluster_centers_))

    def _encodings(self, model: Autoencoder, look: Look) -> Tensor:
        """Encodings ``(n, dim)`` of rows that are evenly spread over what may be looked at."""
        rows = tree.count(look.x)
        number = min(rows, -(-LOOKED_AT * self.entries // self.positions))
        encodings = []
        with evaluating(model):
            for index in torch.linspace(0, rows - 1, number).long().split(ROWS_AT_ONCE):
                batch = _rows(look.batch, index)
                x = tree.chosen(look.x, index.to(model.device))
                encodings.append(self._vectors(model.encode_view(View(x, mask=batch.mask), batch)))
        return torch.cat(encodings)

    def _vectors(self, h: Tensor) -> Tensor:
        """The latents of all rows and positions, ``(rows * positions, dim)``, off the graph."""
        if h.shape[1] != self.positions * self.dim:
            raise IsthmusError(
                f"the encoder returns {h.shape[1]} numbers a row, and {self.positions} positions "
                f"of latent_dim={self.dim} are {self.positions * self.dim}: give it that many, "
                "position by position"
            )
        return h.detach().reshape(-1, self.dim)


def _rows(batch: Batch, index: Tensor) -> Batch:
    """Some rows of a batch."""

    def take(part: Tensor | None) -> Tensor | None:
        return None if part is None else part[index.to(part.device)]

    return Batch(
        tree.mapped(lambda leaf: tree.chosen(leaf, index), batch.x),
        take(batch.rows),
        None if batch.mask is None else tree.mapped(take, batch.mask),
        {name: value[index.to(value.device)] for name, value in batch.given.items()},
    )
