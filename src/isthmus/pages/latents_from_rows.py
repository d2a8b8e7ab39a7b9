"""The latents of any autoencoder, by what they do to its inputs and outputs."""

import numpy as np

from isthmus.anatomy import Autoencoder, Source, decodes_latents, tree
from isthmus.evaluation.likelihood_bounds import ACTIVE_VARIANCE
from isthmus.pages import directions, interesting
from isthmus.pages.codes import Codes, histogram
from isthmus.pages.drawn_rows import BLOCK, POOL, Inputs, first_rows, inputs_of, pool
from isthmus.pages.image_patches import Behind, behind
from isthmus.pages.kit.blocks import Binary, Detail, number, short
from isthmus.pages.latents import Column, Latents
from isthmus.pages.traversals import STEPS, most_informative, traversed

STRONGEST, ACROSS, WEAKEST = 12, 10, 6
"""Examples of a latent: the strongest, some over all ranks, and of a dense code the lowest."""

TRAVERSED = 256
FEATURED = 8
"""Latents that the page opens with."""

COMPARED_BYTES = 128 << 20
"""Bytes of the activations that strongest examples are compared by, where these are no inputs."""

TRAVERSAL_BYTES, DIRECTION_BYTES = 8 << 20, 10 << 20
DRAWN = ("vector", "image", "series")
"""Kinds of signals whose rows can be drawn."""


def latents_of(model: Autoencoder, source: Source, codes: Codes) -> Latents:
    """Statistics, strongest inputs, traversals and directions of every latent on these rows.

    ``codes`` are those of :func:`isthmus.pages.codes.codes_of`.
    """
    builder = _Builder(model, source, codes)
    return builder.latents()


class _Builder:
    """What is computed once for all latents, and asked for chunk by chunk."""

    def __init__(self, model: Autoencoder, source: Source, codes: Codes) -> None:
        self.model, self.codes = model, codes
        self.notes: list[str] = []
        drawable = model.signal.kind in DRAWN
        self.inputs: Inputs | None = None
        self.rows = np.empty((0,))
        if drawable:
            sample = first_rows(source, 64)
            self.inputs = inputs_of(model, sample, source)
            self.rows = first_rows(source, min(codes.rows, max(64, POOL // self.inputs.bytes)))
        self.behind: Behind | None = behind(source, codes.rows)
        if self.behind is not None:
            self.rows = self.behind.rows
            if len(self.rows) <= self.behind.image.max():
                self.notes.append(f"Examples are chosen from the first {len(self.rows):,} images.")
        elif len(self.rows) < codes.rows and drawable:
            self.notes.append(
                f"Examples are chosen from the first {len(self.rows):,} rows looked at."
            )
        self.used = np.zeros(len(self.rows), bool)
        self.strength = self._strength()
        self._find_directions()
        self.first = "strongest"
        if codes.sparse:
            self._find_interest(source)
            self.strength, self.first = self.interest, "most interesting"
        self._choose_drawn()
        self.together = directions.Together(codes)
        self.traversed = self._which_traversed()

    def latents(self) -> Latents:
        columns, order = self._columns()
        featured = [k for k in most_informative(self.codes, FEATURED) if self._is_drawn(k)]
        by = "divergence from the prior" if self.codes.kl is not None else "standard deviation"
        featured_about = f"those of the largest {by}, the others at their means"
        if self.codes.sparse:
            signs = [frozenset(rows.tolist()) for rows in self.strongest]
            with_inputs = self.inputs is not None
            featured = interesting.picked(
                self.interest, signs, FEATURED * with_inputs, self.middles
            )
            featured_about = f"chosen by interest, {interesting.ABOUT}"
        setting = {"kind": "none"} if self.inputs is None else self.inputs.setting()
        sparse = self.codes.sparse
        return Latents(
            ids=np.arange(len(self.codes)),
            columns=columns,
            order=order,
            featured=featured,
            featured_about=featured_about,
            details=self._details,
            rates=self.codes.counts / self.codes.rows if sparse else None,
            rates_of=(self.codes.rows, "rows"),
            points=self.points,
            points_about=self.points_about,
            setting={
                **setting,
                "dense": not sparse,
                "steps": STEPS,
                "pool": BLOCK,
                "pictured": bool(self.drawn),
                "behind": None if self.behind is None else self.behind.setting(),
            },
            pools=self._pools,
            notes=self.notes,
        )

    def _is_drawn(self, latent: int) -> bool:
        """Whether there is more to see of a latent of a dense code than its numbers.

        A table's columns are too many to stand beside one another for several latents.
        """
        if self.inputs is None or self.inputs.names:
            return False
        return latent in self.traversed or latent in self.drawn

    def _pools(self) -> dict[str, str]:
        """The rows that examples named, once all details have been made."""
        inputs = self.inputs if self.behind is None else self.behind.inputs
        return {} if inputs is None else pool(inputs, self.rows, self.used)

    # --- figures -----------------------------------------------------------------------------

    def _strength(self) -> np.ndarray:
        """What decides which latents come first where not all can be shown."""
        if self.codes.kl is not None:
            return self.codes.kl
        return self.codes.counts.astype(float) if self.codes.sparse else self.codes.stds

    def _columns(self) -> tuple[list[Column], str]:
        codes = self.codes
        columns: list[Column] = []
        if codes.sparse:
            rate, order = codes.counts / codes.rows, "interest"
            columns += [
                Column("interest", "interest", interesting.ABOUT, self.interest),
                Column("rate", "fires", "share of the rows on which it fires", rate, "share"),
                Column("mean", "mean", "mean value where it fires", codes.means),
                Column("top", "largest", "largest value", codes.largest),
            ]
        else:
            order = "std"
            if codes.kl is not None:
                order, about = "kl", "mean divergence of its posterior from the prior, in nats"
                columns.append(Column("kl", "KL", about, codes.kl))
                active = (codes.stds**2 > ACTIVE_VARIANCE).astype(float)
                about = f"1 where the variance of its posterior mean is over {ACTIVE_VARIANCE:g}"
                columns.append(Column("active", "active", about, active, "count"))
            columns += [
                Column("std", "std", "standard deviation over the rows", codes.stds),
                Column("mean", "mean", "mean over the rows", codes.means),
            ]
        if self.sizes is not None:
            columns.append(Column("norm", "effect", self.sizes_about, self.sizes))
        if self.near is not None:
            closest = np.full(len(codes), np.nan)
            closest[self.directed] = self.near[1][:, 0]
            about = "largest cosine of its direction with another latent's"
            columns.append(Column("cosine", "nearest", about, closest))
        return columns, order

    def _find_interest(self, source: Source) -> None:
        """Which latents of a sparse code are worth looking at, and their strongest rows."""
        codes, rows = self.codes, self._compared(source)
        limit = codes.rows if rows is None else len(rows)
        self.strongest = []
        for latent in range(len(codes)):
            places, values = codes.values(latent)
            inside = places < limit
            order = np.argsort(-np.abs(values[inside]), kind="stable")[: interesting.ALIKE]
            self.strongest.append(places[inside][order])
        coherence, self.middles = None, None
        if rows is not None:
            coherence, self.middles = interesting.alike(rows, self.strongest)
        sizes = 1.0 if self.sizes is None else self.sizes
        strength = np.abs(codes.means) * sizes
        self.interest = interesting.interest(
            codes.counts / codes.rows, codes.rows, coherence, strength
        )

    def _compared(self, source: Source) -> np.ndarray | None:
        """The rows, or the activations, that examples are compared by, ``(rows, elements)``."""
        if self.behind is None:
            return None if self.inputs is None else self.inputs.small(self.rows)
        each = 4 * max(1, self.model.signal.numel)
        rows = first_rows(source, min(self.codes.rows, max(64, COMPARED_BYTES // each)))
        return rows.reshape(len(rows), -1)

    # --- directions --------------------------------------------------------------------------

    def _find_directions(self) -> None:
        """Directions of all latents of a dictionary, or of the strongest of another decoder."""
        model, codes = self.model, self.codes
        self.points: np.ndarray | None = None
        self.points_about = ""
        self.sizes: np.ndarray | None = None
        self.near: tuple[np.ndarray, np.ndarray] | None = None
        self.directed = np.arange(len(codes))
        atoms = model.atoms()
        self.directions: np.ndarray | None = None
        if atoms is not None:
            self.directions = directions.flat(tree.mapped(lambda a: a.float().cpu(), atoms))
        self.drawn: dict[int, int] = {}
        self.sizes_about = "norm of what one unit of it adds to the reconstruction"
        if self.directions is None:
            if not decodes_latents(model):
                return
            parts = model.signal.parts.values() or [model.signal]
            if not all(part.is_real for part in parts):
                self.notes.append("What is rebuilt are no numbers, so latents have no directions.")
                return
            self.directed = np.sort(np.argsort(-self.strength, kind="stable")[: directions.MOVED])
            self.directions = directions.changes(model, codes, self.directed)
            self.sizes_about = "norm of how one standard deviation of it changes the reconstruction"
        compared = self._standardised(self.directions)
        self.sizes = np.full(len(codes), np.nan)
        self.sizes[self.directed] = np.linalg.norm(compared, axis=1)
        unit = directions.unit(compared)
        self.near = directions.nearest(unit)
        if self.near is None and len(unit) > 1:
            self.notes.append("There are too many latents to look for the nearest directions.")
        plane = directions.plane(unit)
        if plane is not None:
            self.points = np.full((len(codes), 2), np.nan)
            self.points[self.directed] = plane
            self.points_about = "first two principal components of the unit decoder directions"

    def _standardised(self, directions: np.ndarray) -> np.ndarray:
        """Directions in standard deviations of the columns, where the model standardises these.

        In the user's units the column of the largest numbers would be all that counts.
        """
        scale = None if self.inputs is None else self.inputs.scale
        if scale is None or scale.size != directions.shape[1]:
            return directions
        self.sizes_about += ", in standard deviations of the columns"
        return directions / scale.ravel()

    def _choose_drawn(self) -> None:
        """Which directions the page has room to draw: those of whole inputs only."""
        if self.inputs is None or self.directions is None:
            return
        if self.directions.shape[1] != self.model.signal.numel:
            return
        room = max(
            1, DIRECTION_BYTES // max(1, self.inputs.bytes // (1 if self.inputs.is_image else 4))
        )
        strongest = np.argsort(-self.strength[self.directed], kind="stable")[:room]
        self.drawn = {int(self.directed[k]): int(k) for k in strongest}
        if len(strongest) < len(self.directed):
            self.notes.append(
                f"The directions of the {len(strongest):,} {self.first} latents are drawn; those "
                f"of {len(self.directed) - len(strongest):,} are left out to keep the page small."
            )

    def _which_traversed(self) -> set[int]:
        """Latents whose traversals are drawn: none of a linear dictionary, whose atoms say all."""
        if self.inputs is None or not decodes_latents(self.model):
            return set()
        if self.model.atoms() is not None:
            return set()
        room = max(1, min(TRAVERSED, TRAVERSAL_BYTES // (STEPS * self.inputs.bytes)))
        strongest = np.argsort(-self.strength, kind="stable")[:room]
        if len(strongest) < len(self.codes):
            self.notes.append(
                f"The {len(strongest):,} {self.first} latents are traversed; "
                f"{len(self.codes) - len(strongest):,} are left out to keep the page small."
            )
        return {int(latent) for latent in strongest}

    # --- one latent --------------------------------------------------------------------------

    def _details(self, start: int, stop: int) -> tuple[list[Detail], bytes]:
        binary = Binary()
        joint = self.together.of(start, stop)
        placed = {int(latent): k for k, latent in enumerate(self.directed)}
        details = []
        for latent in range(start, stop):
            rows, values = self.codes.values(latent)
            detail: Detail = histogram(values)
            detail["joint"] = [[other, number(value, 3)] for other, value in joint[latent - start]]
            if self.near is not None and latent in placed:
                numbers, cosines = (part[placed[latent]] for part in self.near)
                detail["near"] = [
                    [int(self.directed[k]), number(c, 3)]
                    for k, c in zip(numbers, cosines, strict=True)
                ]
            self._examples(detail, rows, values)
            if self.inputs is not None and self.directions is not None and latent in self.drawn:
                change, most = self.inputs.change(self.directions[[self.drawn[latent]]])
                detail["atom"] = [*binary.add(change), number(most[0])]
            if latent in self.traversed:
                self._traverse(detail, latent, values, binary)
            details.append(detail)
        return details, binary.bytes()

    def _examples(self, detail: Detail, rows: np.ndarray, values: np.ndarray) -> None:
        """The strongest rows, some over all ranks, and for a dense code the least."""
        pictured = rows if self.behind is None else self.behind.image[rows]
        inside = pictured < len(self.rows)
        rows, pictured, values = rows[inside], pictured[inside], values[inside]
        if not len(rows):
            return
        order = np.argsort(-np.abs(values) if self.codes.sparse else -values, kind="stable")
        ranks = ((np.arange(ACROSS) + 0.5) / ACROSS * len(order)).astype(int)
        groups: dict[str, np.ndarray] = {"strong": order[:STRONGEST]}
        if len(order) > STRONGEST:
            groups["across"] = order[ranks]
            if not self.codes.sparse:
                groups["weak"] = order[: -WEAKEST - 1 : -1]
        for name, places in groups.items():
            self.used[pictured[places]] = True
            detail[name] = [
                [int(pictured[k]), number(values[k], 4), *self._place(rows[k])] for k in places
            ]

    def _place(self, row: np.integer) -> list[int]:
        """Where in its image an activation stands; nothing for rows that are no activations."""
        return [] if self.behind is None else [int(self.behind.place[row])]

    def _traverse(self, detail: Detail, latent: int, values: np.ndarray, binary: Binary) -> None:
        """Reconstructions at even steps over the latent's observed range, the rest at its mean."""
        if not len(values):
            return
        assert self.inputs is not None
        (way,) = traversed(self.model, self.codes, [latent], steps=STEPS)
        drawn = self.inputs.drawn(np.asarray(way.rows))
        detail["traversal"] = [*binary.add(drawn), short(way.values)]
