"""The pre-activations of the latents that this process holds, of a dictionary held by several."""

import torch
from torch import Tensor

from isthmus.kernels.preactivations import Preactivations
from isthmus.kernels.select import select_top
from isthmus.ranks import cut_among, shard_held
from isthmus.shapes import Float, Int


def preactivations_of(
    x: Tensor, weight: Tensor, bias: Tensor, centre: Tensor | None
) -> Preactivations:
    """``u = (x - centre) W^T + b`` of the latents held here: see :class:`Preactivations`."""
    kind = Preactivations if shard_held() is None else ShardedPreactivations
    return kind(x, weight, bias, centre)


class ShardedPreactivations(Preactivations):
    """Those of the rank's own latents, of which :meth:`top` gives the largest of all ranks.

    Each rank finds its own k largest, and only their values are exchanged: the k-th largest of all
    of them is the cut. What a row has above it here are most often about k / ranks entries, so that
    all that follows costs a rank its share. Everything else that is asked is asked of the latents
    held here.
    """

    def top(
        self, k: int, *, magnitude: bool = False, priority: Tensor | None = None
    ) -> tuple[Float[Tensor, "rows most"], Int[Tensor, "rows most"]]:
        """Those of the k largest of each row, over all ranks, that are held here.

        Rows that have fewer of them than others are filled up with the value 0, which no gradient
        leaves. ``k`` is at most the number of latents that all ranks ask about.
        """
        most, shard = min(k, self.width), shard_held()
        assert shard is not None
        dense = most == 0 or self._stay_dense(most)
        u = self.dense() if dense else None
        with torch.no_grad():
            fixed = None if priority is None else priority.detach()
            if u is not None:
                key = u.abs() if magnitude else u
                key = key if fixed is None else key * fixed
                # Stable, so that of equal keys the lowest latents come first.
                key, indices = key.sort(dim=1, descending=True, stable=True)
                key, indices = key[:, :most], indices[:, :most]
                values = u.gather(1, indices)
            else:
                values, indices = select_top(
                    self._inner(),
                    self._factor(),
                    self.bias,
                    most,
                    magnitude=magnitude,
                    priority=fixed,
                )
                key = values.abs() if magnitude else values
                key = key if fixed is None else key * fixed[indices]
            kept = cut_among(key, k, shard)
            kept, values, indices = _compact(kept, values, indices)
        values = self._differentiable(values, indices) if u is None else u.gather(1, indices)
        return torch.where(kept, values, 0.0), indices

    def of(self, latents: Int[Tensor, " some"]) -> "Preactivations":
        """Those of some of the latents held here, by their numbers here."""
        part = super().of(latents)
        return ShardedPreactivations(part.x, part.weight, part.bias, part.centre)


def _compact(kept: Tensor, values: Tensor, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The entries that stay, in as many columns as the row with the most of them has.

    An accelerator would have to be waited for: there all columns stay.
    """
    if kept.device.type != "cpu":
        return kept, values, indices
    most = int(kept.sum(1).max()) if kept.numel() else 0
    places = kept.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return kept.gather(1, places), values.gather(1, places), indices.gather(1, places)
