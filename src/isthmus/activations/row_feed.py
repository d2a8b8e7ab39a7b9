"""Rows of a source, images say, through any module."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.activations.axes import Axis, Made, asked_axis, feature_axis, outputs
from isthmus.activations.feed import Kept, class_name
from isthmus.activations.hooks import Activations
from isthmus.activations.inputs import Inputs, cannot_read
from isthmus.activations.points import Point, Side
from isthmus.anatomy import Source, evaluating
from isthmus.errors import IsthmusError
from isthmus.language.devices import dtype_name, dtype_of
from isthmus.language.weight_fingerprint import fingerprint
from isthmus.notices import say

__all__ = ["Axis", "RowFeed"]

PROBED = (2, 3)
"""Rows of the two passes that tell which axis counts the rows."""


@dataclass(frozen=True)
class Plan:
    """How a point's tensor becomes ``(rows, places, width)``.

    ``rows`` is the axis of the rows, on which each row may have ``times`` entries (windows of an
    image); ``features`` is counted after that, with the rows first.
    """

    rows: int
    times: int
    features: int

    def by_row(self, tensor: Tensor, rows: int) -> Tensor:
        plain = tensor.movedim(self.rows, 0)
        if self.times > 1:
            plain = plain.unflatten(0, (rows, self.times))
        plain = plain.movedim(self.features, -1)
        return plain[:, None] if plain.ndim == 2 else plain.flatten(1, -2)


class RowFeed:
    """Rows of a source through any module.

    ``(rows, width)`` is one token a row, ``(rows, places, width)`` as many as there are places, and
    a map of features one for each of its pixels, row by row. Which axis holds the features is found
    from the modules (the second of a convolution, the last of a linear layer), said where it is not
    certain, and settled by ``axis``: a number for all points, or one by point. Which axis counts
    the rows is found in two passes over a few. All points need the same number of tokens a row.
    See :class:`isthmus.activations.inputs.Inputs` for what the module gets.
    """

    def __init__(
        self,
        model: nn.Module,
        source: Source,
        at: str | Sequence[str],
        side: Side = "output",
        name: str | None = None,
        axis: Axis = None,
    ) -> None:
        self.model, self.source, self.name = model, source, name
        self.acts = Activations(model, at, side)
        self.points = self.acts.points
        self.inputs = Inputs(model, source)
        self._plans = self._found_plans(axis)
        self.axes = {point: plan.features for point, plan in self._plans.items()}
        tensors = self._by_row(self._forward(torch.zeros(1, dtype=torch.int64)), 1)
        places = {point: value.shape[1] for point, value in tensors.items()}
        if len(set(places.values())) > 1:
            (one, n), (other, m) = next(
                (a, b) for a in places.items() for b in places.items() if a[1] != b[1]
            )
            raise IsthmusError(
                f"{one!r} has {n} tokens a row and {other!r} has {m}: take their activations "
                "separately"
            )
        self.places = next(iter(places.values()))
        self.widths = {point: value.shape[2] for point, value in tensors.items()}
        self.counts = torch.full((len(source),), self.places)
        self.left_out: dict[str, int] = {}

    def _forward(self, rows: Tensor) -> dict[str, Tensor]:
        args, kwargs = self.inputs(rows)
        try:
            with evaluating(self.model, gradients=True):
                return self.acts(*args, **kwargs)
        except IsthmusError:
            raise
        except Exception as error:  # whatever a module raises on rows that it was not made for
            raise cannot_read(self.model, self.source, error) from error

    def _by_row(self, tensors: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
        return {point: self._plans[point].by_row(tensor, rows) for point, tensor in tensors.items()}

    def exclude(self, rows: Tensor, reason: str) -> int:
        """Keep nothing of ``rows``, bool ``(rows,)``; how many tokens these have."""
        number = int(self.counts[rows].sum())
        self.counts = self.counts.masked_fill(rows, 0)
        self.left_out[reason] = self.left_out.get(reason, 0) + number
        return number

    def run(self, rows: Tensor) -> Kept:
        rows = rows[self.counts[rows] > 0]
        tensors = self._by_row(self._forward(rows), len(rows))
        values = {point: value.flatten(0, 1).cpu() for point, value in tensors.items()}
        row = rows.repeat_interleave(self.places)
        return Kept(values, row, torch.arange(self.places).repeat(len(rows)))

    def settle(self, batches: Iterable[Tensor]) -> None:
        """All is found out before the first batch."""

    # --- what is found out before ------------------------------------------------------------

    def _found_plans(self, axis: Axis) -> dict[str, Plan]:
        few, more = (torch.arange(n) % len(self.source) for n in PROBED)
        with outputs(self.model) as shapes:
            first = self._first(few)
        second = self._forward(more)
        plans: dict[str, Plan] = {}
        for place in self.acts.places:
            a, b = first[place.name], second[place.name]
            plans[place.name] = self._plan(place, a, b, shapes, axis)
        for point, plan in plans.items():
            one = plan.by_row(first[point], PROBED[0])[0].double()
            two = plan.by_row(second[point], PROBED[1])[0].double()
            half = dtype_of(self.model) in (torch.float16, torch.bfloat16)
            if float((one - two).norm()) > (0.1 if half else 1e-3) * float(one.norm()):
                say(
                    f"the activations of a row at {point!r} depend on the other rows of its batch: "
                    "look at the module (an axis of rows taken for one of places, or noise)"
                )
        return plans

    def _first(self, rows: Tensor) -> dict[str, Tensor]:
        """The first pass; it settles whether whole numbers go in as such."""
        if not self.inputs.maybe_whole:
            return self._forward(rows)
        self.inputs.whole = True
        try:
            return self._forward(rows)
        except IsthmusError:
            self.inputs.whole = False
            return self._forward(rows)

    def _plan(self, place: Point, a: Tensor, b: Tensor, shapes: list[Made], axis: Axis) -> Plan:
        few, more = PROBED
        axes = [i for i in range(a.ndim) if a.ndim == b.ndim and (a.shape[i], b.shape[i]) == PROBED]
        rows, times = (axes[0], 1) if axes else (0, 0)
        if not axes and a.ndim == b.ndim and a.ndim and a.shape[0] * more == b.shape[0] * few:
            times = a.shape[0] // few
        if not times or a.ndim < 2:
            raise IsthmusError(
                f"{place.name!r} gives the shape {tuple(a.shape)} for {few} rows, where "
                "(rows, width), (rows, places, width) or (rows, channels, height, width) is "
                "needed: name another module"
            )
        plain = a.movedim(rows, 0)
        if times > 1:
            plain = plain.unflatten(0, (few, times))
        shape = tuple(plain.shape)
        features = asked_axis(axis, place.name, shape, self.points)
        if features is not None or len(shape) == 2:
            return Plan(rows, times, features or 1)
        whole = [Made(m.path, _as_rows(m.shape, rows, times, few), _moved(m, rows)) for m in shapes]
        return Plan(rows, times, feature_axis(place, shape, whole))

    def about(self) -> dict[str, Any]:
        about = {
            "kind": "module",
            "name": self.name or class_name(self.model),
            "revision": fingerprint(self.model),
            "class": class_name(self.model),
        }
        computed = dtype_of(self.model)
        if computed != torch.float32:
            about["dtype"] = dtype_name(computed)
        if self.inputs.processor is not None:
            about["processor"] = str(self.inputs.processor)
        return about

    def fingerprint(self) -> str:
        source_print = self.source.fingerprint()
        digest = hashlib.sha256(repr((len(self.source), self.source.signal.to_dict())).encode())
        if source_print is not None:
            digest.update(source_print.encode())
        else:
            spread = torch.arange(0, len(self.source), max(1, len(self.source) // 1024))
            x = self.source.rows(spread)
            for part in x.values() if isinstance(x, dict) else (x,):
                digest.update(part.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _as_rows(shape: tuple[int, ...], rows: int, times: int, few: int) -> tuple[int, ...]:
    """A module's shape with the rows first, and windows apart, as the point's is looked at."""
    if rows >= len(shape):
        return shape
    plain = (shape[rows], *shape[:rows], *shape[rows + 1 :])
    return (few, times, *plain[1:]) if times > 1 and plain[0] == few * times else plain


def _moved(output: Made, rows: int) -> int | None:
    """The axis of features, counted from the end, once the rows have been moved to the front."""
    if output.axis is None or output.axis == -1:
        return output.axis
    # Channels first: on the second axis, which stays the second where rows are the first.
    return output.axis - len(output.shape) if rows == 0 else None
