"""Pre-activations of several linear encoders, each of its own input, as those of one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from isthmus.kernels.preactivations import Preactivations
from isthmus.shapes import Float, Int


class Stacked(Preactivations):
    """The latents of all ``parts`` after one another, ``(rows, sum of widths)``.

    Part i reads its own ``x`` by its own weight. As one product the weight would be block-diagonal
    and mostly zeros: every question is put to the parts, and the answers are brought together. What
    is selected, and its gradients, are those of the parts.
    """

    def __init__(self, parts: Sequence[Preactivations]) -> None:
        self.parts = list(parts)
        starts = [0]
        for part in self.parts:
            starts.append(starts[-1] + part.width)
        self.starts = starts
        """The number of each part's first latent, and of all latents at the end."""
        self._dense: Tensor | None = None

    @property
    def x(self) -> Tensor:  # type: ignore[override]
        """What all parts read, side by side, ``(rows, d of all)``."""
        return torch.cat([part.x for part in self.parts], 1)

    @property
    def bias(self) -> Tensor:  # type: ignore[override]
        """The biases of all latents, ``(width,)``."""
        return torch.cat([part.bias for part in self.parts])

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def width(self) -> int:
        return self.starts[-1]

    def take(self, rows: Tensor) -> "Stacked":
        return Stacked([part.take(rows) for part in self.parts])

    def dense(self) -> Float[Tensor, "rows width"]:
        if self._dense is None:
            self._dense = torch.cat([part.dense() for part in self.parts], 1)
        return self._dense

    def top(
        self, k: int, *, magnitude: bool = False, priority: Tensor | None = None
    ) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
        """The k largest of each row, of all parts together: they are among the k of each part."""
        values, indices = self.top_of_each(k, magnitude=magnitude, priority=priority)
        key = values.detach().abs() if magnitude else values.detach()
        key = key if priority is None else key * priority.detach()[indices]
        best = key.topk(k, dim=1, sorted=False).indices
        return values.gather(1, best), indices.gather(1, best)

    def top_of_each(
        self, k: int, *, magnitude: bool = False, priority: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The k largest of each part in each row, or all that it has, ``(rows, parts k)``."""
        values, indices = [], []
        for number, part in enumerate(self.parts):
            part_priority = None if priority is None else priority[self.slice(number)]
            entries = part.top(min(k, part.width), magnitude=magnitude, priority=part_priority)
            values.append(entries[0])
            indices.append(entries[1] + self.starts[number])
        return torch.cat(values, 1), torch.cat(indices, 1)

    def above(
        self, cutoff: Float[Tensor, " width"], *, fill: float = 0.0
    ) -> tuple[Float[Tensor, "rows most"], Int[Tensor, "rows most"]] | None:
        """All that exceed ``cutoff``; what fills up a part of a row comes last in that part."""
        values, indices = [], []
        for number, part in enumerate(self.parts):
            entries = part.above(cutoff[self.slice(number)], fill=fill)
            if entries is None:
                return None
            values.append(entries[0])
            indices.append(entries[1] + self.starts[number])
        return torch.cat(values, 1), torch.cat(indices, 1)

    def of(self, latents: Int[Tensor, " some"]) -> "Preactivations":
        """Those of some latents only, which ascend."""
        ends = torch.tensor(self.starts[1:], device=latents.device)
        counts = torch.bincount(torch.bucketize(latents, ends, right=True), minlength=len(ends))
        pieces = latents.split(counts.tolist())
        return Stacked(
            [
                part.of(piece - start)
                for part, piece, start in zip(self.parts, pieces, self.starts, strict=False)
                if len(piece)
            ]
        )

    def slice(self, number: int) -> slice:
        """Where the latents of a part are."""
        return slice(self.starts[number], self.starts[number + 1])
