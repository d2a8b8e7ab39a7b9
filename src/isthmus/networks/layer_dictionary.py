"""Dictionaries of several layers, of which a layer is rebuilt by the latents of all before it."""

from collections.abc import Mapping

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


class SkipLayerDictionary(LayerDictionary):
    """A :class:`LayerDictionary` beside a linear map of what its own layer reads, ``S x``.

    ``skip_weight`` is ``S`` ``(d written, inputs)``, zero at first. The code carries what skips in
    all layers, one after the other, and ``begin`` is where this layer's elements are.
    """

    latents_suffice = False

    def __init__(
        self, width: int, reach: int, own: int, shape: tuple[int, ...], inputs: int, begin: int
    ) -> None:
        super().__init__(width, reach, own, shape)
        self.begin = begin
        self.skip_weight = nn.Parameter(torch.zeros(self.weight.shape[1], inputs))

    @property
    def skip(self) -> Tensor:
        """``S``, ``(d written, inputs)``, in the model's units."""
        return self.skip_weight

    def decode(self, code: Code) -> Tensor:
        """The reconstruction, ``(rows, *shape)``; of a code that carries nothing that of zero x."""
        plain = super().decode(code)
        if not isinstance(code, Skipped):
            return plain
        skipped = code.skip[:, self.begin : self.begin + len(self.skip_weight)]
        return plain + skipped.unflatten(1, self.shape)


def stacked(found: Mapping[str, Preactivations]) -> Stacked:
    """The latents of all layers after one another, as a merge of :class:`isthmus.anatomy.Each`."""
    return Stacked(list(found.values()))
