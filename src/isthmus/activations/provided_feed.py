"""Token rows through a model that is not here as a module: an engine gives activations."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from isthmus.activations.feed import Kept
from isthmus.activations.token_feed import Host, TokenFeed
from isthmus.errors import IsthmusError, unknown
from isthmus.language import Tokens


@runtime_checkable
class Provider(Host, Protocol):
    """A language model that gives activations for rows of tokens, wherever it runs.

    ``widths`` are the points that it can give, with their widths.
    """

    @property
    def widths(self) -> dict[str, int]: ...

    def activations(
        self, rows: Sequence[Sequence[int]], points: Sequence[str]
    ) -> list[dict[str, Tensor]]:
        """For each row its activations ``(tokens, width)`` by point, every token of it in order."""
        ...


class ProvidedFeed(TokenFeed):
    """Token rows through a provider, each as long as it is: nothing is padded."""

    def __init__(
        self, provider: Provider, tokens: Tokens, at: str | Sequence[str], skip_special: bool = True
    ) -> None:
        super().__init__(provider, tokens, skip_special)
        self.provider = self.model = provider
        self.points = (at,) if isinstance(at, str) else tuple(at)
        known = provider.widths
        for point in self.points:
            if point not in known:
                raise unknown(f"point of {provider.name}", point, known)
        if not self.points or len({*self.points}) < len(self.points):
            raise IsthmusError(f"points {list(self.points)} are none or twice the same: name each")
        self.widths = {point: known[point] for point in self.points}
        self.axes = dict.fromkeys(self.points, -1)

    def run(self, rows: Tensor) -> Kept:
        rows = rows[self.counts[rows] > 0]
        mask = self.tokens.mask[rows]
        texts = [ids[seen].tolist() for ids, seen in zip(self.tokens.ids[rows], mask, strict=True)]
        given = self.provider.activations(texts, self.points)
        if len(given) != len(texts):
            raise IsthmusError(
                f"{self.provider.name} gave {len(given)} rows for {len(texts)}: what an engine "
                "drops is missing from a store, so look at its log"
            )
        keep = self.keep[rows]
        values: dict[str, Tensor] = {}
        for point, width in self.widths.items():
            parts = []
            for number, (text, one) in enumerate(zip(texts, given, strict=True)):
                shape = tuple(one[point].shape)
                if shape != (len(text), width):
                    raise IsthmusError(
                        f"{self.provider.name} gave the shape {shape} at {point!r} for a row of "
                        f"{len(text)} tokens of width {width}: switch its prefix caching off, "
                        "which leaves out rows that were computed before"
                    )
                parts.append(one[point][keep[number][mask[number]]].cpu())
            values[point] = torch.cat(parts)
        row, place = keep.nonzero(as_tuple=True)
        return Kept(values, rows[row], place)
