"""Replacing activations inside a model's forward pass, by a reconstruction or by anything else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.activations.hooks import hooked
from isthmus.activations.points import Point, resolve
from isthmus.anatomy import Autoencoder, evaluating
from isthmus.anatomy.inference import ENCODE_BATCH
from isthmus.errors import IsthmusError
from isthmus.interpretation.encoding import coded, decoded
from isthmus.interpretation.places import Places, Surroundings, TextCall, WholeCall, chosen
from isthmus.language import LanguageModel


class Edit:
    """An edit of single activations: ``rows`` maps ``(n, width)`` to ``(n, width)``.

    places
        Where it applies, counted from the beginning of each row: a slice, a sequence of numbers,
        or bool ``(rows, places)``; None for all. Beyond a bool tensor's end nothing is edited.
    reads
        The point whose activation is read, where that is not the point that is edited (a
        transcoder reads a module's input and stands in for its output). It has to come earlier in
        the forward pass.
    """

    def __init__(self, places: Places | None = None, reads: str | None = None) -> None:
        self.places, self.reads = places, reads

    def rows(self, x: Tensor, read: Tensor) -> Tensor:
        """What takes the place of ``x`` ``(n, width)``; ``read`` is the activation to be read."""
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        """The edit everywhere in ``x`` ``(..., width)``; for a hook of one's own."""
        flat = x.reshape(-1, x.shape[-1])
        return self.rows(flat, flat).view_as(x)


class Splice(Edit):
    """An activation's reconstruction in its place.

    autoencoder
        Reads and rebuilds single activations, in their own units (its scaler included).
    keep_error
        Add what the reconstruction lacks, as a constant: values stay as they are within rounding,
        and gradients flow through the code alone (Marks et al. 2024, arXiv:2403.19647).
    mask
        Where: see :class:`Edit` (``places``).
    reads
        See :class:`Edit`.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        keep_error: bool = False,
        mask: Places | None = None,
        *,
        reads: str | None = None,
    ) -> None:
        super().__init__(mask, reads)
        self.autoencoder, self.keep_error = autoencoder, keep_error

    def rows(self, x: Tensor, read: Tensor) -> Tensor:
        with evaluating(self.autoencoder, gradients=True):
            parts = [
                decoded(self.autoencoder, coded(self.autoencoder, part), part)
                for part in read.split(ENCODE_BATCH)
            ]
        recon = torch.cat(parts).to(x)
        return recon + (x - recon).detach() if self.keep_error else recon


@contextmanager
def spliced(
    model: nn.Module | LanguageModel,
    edits: Mapping[str, Callable[[Tensor], Tensor]],
    *,
    mask: Tensor | None = None,
) -> Iterator[None]:
    """Within the block, activations of ``model`` are replaced by what the edits make of them.

    ``edits`` maps points to edits, points as :class:`isthmus.activations.Activations` takes them:
    a module's path, with wildcards, and with ``:in`` for its input instead of its output. Of
    several tensors (tuples, outputs of ``transformers``) the first is edited. An edit takes the
    activation, usually ``(rows, places, width)``, and returns one of its shape; edits of one point
    are applied in order. :class:`Splice` and ``Steering`` are edits.

    ``mask`` is ``(rows, places)``, bool or 1 and 0 of any type: activations elsewhere keep their
    bits. Without one a :class:`LanguageModel` is edited everywhere but at special tokens and
    padding, which are read from each call, and with a key-value cache places go on from those that
    the cache holds; any other module is edited everywhere.

    Hooks are removed at the end, after an error as well. Points that do not exist, and edits that
    return another shape, are an :class:`IsthmusError`.
    """
    module = model.module if isinstance(model, LanguageModel) else model
    around: Surroundings = WholeCall(mask)
    with ExitStack() as stack:
        if isinstance(model, LanguageModel):
            around = TextCall(model, mask)
            stack.callback(around.hook(module).remove)
        for point, edit in edits.items():
            reader = None
            if isinstance(edit, Edit) and edit.reads is not None:
                reader = _Read(module, edit.reads)
                stack.callback(reader.handle.remove)
            for place in resolve(module, point):
                replace = _Replacement(place.name, edit, around, reader)
                stack.callback(hooked(place, replace).remove)
        yield


class _Read:
    """The activation at the point that an edit reads, kept until it is used."""

    def __init__(self, module: nn.Module, point: str) -> None:
        self.point = point
        self.seen: Tensor | None = None
        self.handle = hooked(one_point(module, point), self._keep)

    def _keep(self, x: Tensor) -> Tensor:
        self.seen = x
        return x

    def take(self) -> Tensor:
        value, self.seen = self.seen, None
        if value is None:
            raise IsthmusError(
                f"{self.point!r} has no activation yet where it is needed: read a point that comes "
                "earlier in the forward pass"
            )
        return value


class _Replacement:
    """What a hook does with the activation of one point."""

    def __init__(
        self,
        point: str,
        edit: Callable[[Tensor], Tensor],
        around: Surroundings,
        read: _Read | None,
    ) -> None:
        self.point, self.edit, self.around, self.read = point, edit, around, read

    def __call__(self, x: Tensor) -> Tensor:
        edit = self.edit
        where = self.around.where(x, self.point)
        if not isinstance(edit, Edit):
            new = self._fitting(edit(x), x)
            return new if where is None else torch.where(where[..., None], new, x)
        inputs = x if self.read is None else self.read.take()
        if edit.places is not None:
            mask = chosen(edit.places, x, self.around.offset, self.point, self.around.order)
            where = mask if where is None else where & mask
        if inputs.shape[:-1] != x.shape[:-1]:
            raise IsthmusError(
                f"{edit.reads!r} has the shape {tuple(inputs.shape)} and {self.point!r} "
                f"{tuple(x.shape)}: read a point with the same rows and places"
            )
        if where is None:
            flat = edit.rows(x.reshape(-1, x.shape[-1]), inputs.reshape(-1, inputs.shape[-1]))
            return self._fitting(flat.reshape(*x.shape[:-1], -1), x)
        if not bool(where.any()):
            return x
        at = x[where]
        new = x.clone()
        new[where] = self._fitting(edit.rows(at, inputs[where]), at)
        return new

    def _fitting(self, new: Any, x: Tensor) -> Tensor:
        if not isinstance(new, Tensor) or new.shape != x.shape:
            shape = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
            raise IsthmusError(
                f"the edit of {self.point!r} returned {shape} for an activation of shape "
                f"{tuple(x.shape)}: return a tensor of that shape"
            )
        return new.to(x)


def one_point(model: nn.Module, point: str) -> Point:
    """The point of that name; an error where a pattern names several."""
    points = resolve(model, point)
    if len(points) > 1:
        raise IsthmusError(
            f"{point!r} names {len(points)} points, from {points[0].name!r} to "
            f"{points[-1].name!r}: name one"
        )
    return points[0]
