"""Tables whose columns are of several kinds."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from isthmus.anatomy.likelihood import Likelihood
from isthmus.errors import IsthmusError


class Mixed(Likelihood):
    """One likelihood for each block of columns of x ``(rows, columns)``.

    ``columns`` maps ``(start, stop)``, half-open like a slice, to a likelihood; the blocks cover
    the columns from 0 on without gap or overlap::

        Mixed({(0, 3): Gaussian(), (3, 4): Categorical(5), (4, 8): Multinomial()})

    Under :class:`Categorical` each column holds ids, as whole numbers; a one-hot block is
    :class:`Multinomial` over its columns. The decoder returns one flat vector
    ``(..., rows, width)``: block after block, in a block column after column, for a column its
    ``numbers``. Masks are ``(rows,)`` or ``(rows, columns)``. :meth:`mean` and :meth:`sample`
    give all columns in the dtype of ``params``, ids included.
    """

    name = "mixed"

    def __init__(self, columns: Mapping[tuple[int, int], Likelihood]) -> None:
        super().__init__()
        self.blocks = sorted(columns)
        self.parts = nn.ModuleList(columns[block] for block in self.blocks)
        end = 0
        for start, stop in self.blocks:
            if start != end or stop <= start:
                raise IsthmusError(
                    f"the block of columns ({start}, {stop}) does not go on at column {end}: let "
                    "the blocks cover the columns from 0 on, without gap or overlap"
                )
            end = stop
        if not end:
            raise IsthmusError("a mixed likelihood needs at least one block of columns")
        self.columns = end
        self.widths = [
            (stop - start) * part.numbers
            for (start, stop), part in zip(self.blocks, self._parts(), strict=True)
        ]
        self.width = sum(self.widths)
        """How many numbers the decoder has to return for a row."""
        self.discrete = all(part.discrete for part in self._parts())

    def _parts(self) -> list[Likelihood]:
        return [part for part in self.parts if isinstance(part, Likelihood)]

    def _split(self, params: Tensor) -> list[tuple[slice, Likelihood, Tensor]]:
        """For each block its columns, its likelihood and its params, with the numbers last."""
        if params.shape[-1] != self.width:
            raise IsthmusError(
                f"a mixed likelihood of width {self.width} got params {tuple(params.shape)}: let "
                f"the decoder return {self.width} numbers for a row"
            )
        splits = []
        pieces = params.split(self.widths, -1)
        for (start, stop), part, piece in zip(self.blocks, self._parts(), pieces, strict=True):
            part_params = (
                piece if part.numbers == 1 else piece.unflatten(-1, (stop - start, part.numbers))
            )
            splits.append((slice(start, stop), part, part_params))
        return splits

    def mean(self, params: Tensor) -> Tensor:
        return torch.cat(
            [part.mean(part_params).to(params) for _, part, part_params in self._split(params)], -1
        )

    def log_prob(self, params: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self._check_columns(x)
        total = torch.zeros((), dtype=params.dtype, device=params.device)
        for block, part, part_params in self._split(params):
            total = total + part.log_prob(part_params, x[:, block], _columns(mask, block))
        return total

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        drawn = [
            part.sample(part_params, generator=generator).to(params)
            for _, part, part_params in self._split(params)
        ]
        return torch.cat(drawn, -1)

    def support(self, x: Tensor) -> Tensor:
        return self._each("support", x)

    def admits(self, x: Tensor) -> Tensor:
        return self._each("admits", x)

    def check(self, x: Tensor, mask: Tensor | None = None) -> None:
        self._check_columns(x)
        for (start, stop), part in zip(self.blocks, self._parts(), strict=True):
            block = slice(start, stop)
            try:
                part.check(x[:, block], _columns(mask, block))
            except IsthmusError as error:
                raise IsthmusError(f"in columns {start} to {stop - 1}, {error}") from None

    def _each(self, method: str, x: Tensor) -> Tensor:
        self._check_columns(x)
        pairs = zip(self.blocks, self._parts(), strict=True)
        return torch.cat([getattr(p, method)(x[:, start:stop]) for (start, stop), p in pairs], 1)

    def _check_columns(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.columns:
            raise IsthmusError(
                f"a mixed likelihood of {self.columns} columns got data of shape "
                f"{tuple(x.shape)}: pass (rows, {self.columns})"
            )


def _columns(mask: Tensor | None, block: slice) -> Tensor | None:
    return mask if mask is None or mask.ndim == 1 else mask[:, block]
