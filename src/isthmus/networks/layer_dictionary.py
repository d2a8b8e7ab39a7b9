"""Dictionaries of several layers, of which a layer is rebuilt by the latents of all before it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Code, Residual, SparseCode
from isthmus.kernels import Preactivations, Stacked, adaptive_decode
from isthmus.networks.dictionary import Dictionary
from isthmus.networks.skip_dictionary import Skipped


class LayerDictionary(Dictionary):
    """What the latents of a layer and of all before it write to it.

    The code has ``width`` latents, those of the first layer first; the first ``reach`` of them have
    an atom here. ``weight`` ``(reach, d)`` is zero at first but for the ``own`` last, which are
    random directions: a latent then writes to its own layer alone.
    """

    def __init__(self, width: int, reach: int, own: int, shape: tuple[int, ...]) -> None:
        super().__init__(reach, shape, unit=False)
        self.width, self.reach, self.own = width, reach, own
        with torch.no_grad():
            self.weight[: reach - own].zero_()

    @property
    def own_atoms(self) -> Tensor:
        """The atoms of the layer's own latents, ``(own, d)``: a view."""
        return self.weight[self.reach - self.own :]

    def decode(self, code: Code) -> Tensor:
        """The reconstruction of the layer, ``(rows, *shape)``, in the model's units."""
        if isinstance(code, SparseCode):
            before = code.indices < self.reach
            values = torch.where(before, code.values, 0.0)
            indices = torch.where(before, code.indices, 0)
            flat = adaptive_decode(values, indices, self.weight) + self.bias
        else:
            flat = torch.addmm(self.bias, code.z[:, : self.reach], self.weight)
        return flat.unflatten(1, self.shape)

    def atoms(self) -> Tensor:
        """The atom of every latent of the code, ``(width, d)``: zero for those of later layers."""
        return F.pad(self.weight, (0, 0, 0, self.width - self.reach))

    def lengths(self) -> Tensor:
        """The length of each latent's atom here, ``(width,)``, in the model's units."""
        return F.pad(self.weight.norm(dim=1), (0, self.width - self.reach))

    def error(self, code: Code, target: Tensor) -> Residual | None:
        return None


class CarriedLayerDictionary(LayerDictionary):
    """A :class:`LayerDictionary` beside something that is not linear in the latents.

    The code carries that of all layers, one after the other; ``begin`` is where this layer's
    elements are.
    """

    latents_suffice = False

    def __init__(
        self, width: int, reach: int, own: int, shape: tuple[int, ...], begin: int
    ) -> None:
        super().__init__(width, reach, own, shape)
        self.begin = begin

    def carried(self, code: Code, inputs: Sequence[Tensor]) -> Tensor:
        """What is added to the layer ``(rows, d written)``.

        ``inputs`` are what the layers up to this one read, ``(rows, d read)`` each.
        """
        raise NotImplementedError

    def decode(self, code: Code) -> Tensor:
        """The reconstruction, ``(rows, *shape)``; of a code that carries nothing without that."""
        plain = super().decode(code)
        if not isinstance(code, Skipped):
            return plain
        added = code.skip[:, self.begin : self.begin + len(self.bias)]
        return plain + added.unflatten(1, self.shape)


class SkipLayerDictionary(CarriedLayerDictionary):
    """A :class:`LayerDictionary` beside a linear map of what its own layer reads, ``S x``.

    ``skip_weight`` is ``S`` ``(d written, inputs)``, zero at first.
    """

    def __init__(
        self, width: int, reach: int, own: int, shape: tuple[int, ...], inputs: int, begin: int
    ) -> None:
        super().__init__(width, reach, own, shape, begin)
        self.skip_weight = nn.Parameter(torch.zeros(self.weight.shape[1], inputs))

    @property
    def skip(self) -> Tensor:
        """``S``, ``(d written, inputs)``, in the model's units."""
        return self.skip_weight

    def carried(self, code: Code, inputs: Sequence[Tensor]) -> Tensor:
        """``S x`` of what the own layer reads."""
        return F.linear(inputs[-1], self.skip_weight)


class OnsetLayerDictionary(CarriedLayerDictionary):
    """A :class:`LayerDictionary` of which a latent also writes a constant while it is on.

    That is ``onset`` ``(reach,)`` times its atom, as if it were so much larger here; zero at first
    (the post-encoder bias of EleutherAI's clt-training). With ``inputs`` a linear map is added of
    what all layers up to this one read, so many elements: ``skip_weight`` ``(d written, inputs)``.
    """

    skip_weight: nn.Parameter | None

    def __init__(
        self, width: int, reach: int, own: int, shape: tuple[int, ...], inputs: int, begin: int
    ) -> None:
        super().__init__(width, reach, own, shape, begin)
        self.onset = nn.Parameter(torch.zeros(reach))
        d = self.weight.shape[1]
        self.skip_weight = nn.Parameter(torch.zeros(d, inputs)) if inputs else None

    def carried(self, code: Code, inputs: Sequence[Tensor]) -> Tensor:
        """What latents that are on write besides, and ``S x``."""
        if isinstance(code, SparseCode):
            reached = (code.indices < self.reach) & (code.values != 0)
            indices = torch.where(reached, code.indices, 0)
            added = adaptive_decode(
                torch.where(reached, self.onset[indices], 0.0), indices, self.weight
            )
        else:
            on = (code.z[:, : self.reach] != 0).to(self.onset)
            added = (on * self.onset) @ self.weight
        if self.skip_weight is None:
            return added
        return added + F.linear(torch.cat(list(inputs), 1), self.skip_weight)


def stacked(found: Mapping[str, Preactivations]) -> Stacked:
    """The latents of all layers after one another, as a merge of :class:`isthmus.anatomy.Each`."""
    return Stacked(list(found.values()))
