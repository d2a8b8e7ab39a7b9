"""Which latents have not fired for long: the dead ones."""

import torch
from torch import Tensor

from isthmus.anatomy import Clock, Code, Output, Part, SparseCode, Step
from isthmus.kernels import sum_by_latent


class FiringCounter(Part):
    """Rows since each latent last fired: an int64 buffer ``(width,)``, saved with the model.

    A latent selected with value zero has not fired. A latent is *dead* once it has not fired for
    ``dead_after`` rows.
    """

    by_latent = ("silent_rows",)

    silent_rows: Tensor

    def __init__(self, width: int, dead_after: int) -> None:
        super().__init__()
        self.dead_after = dead_after
        self.register_buffer("silent_rows", torch.zeros(width, dtype=torch.int64))

    def observe(self, out: Output, step: Step) -> None:
        """Take a step's code into account."""
        self.count(out.code)

    @torch.no_grad()
    def count(self, code: Code) -> None:
        """Take one training batch into account."""
        if isinstance(code, SparseCode):
            active = (code.values != 0).to(code.values.dtype)
            fired = sum_by_latent(active, code.indices, len(self.silent_rows)) > 0
            rows = len(code.values)
        else:
            fired = (code.z != 0).any(0)
            rows = len(code.z)
        self.silent_rows += rows
        self.silent_rows.masked_fill_(fired, 0)

    def dead(self, clock: Clock) -> Tensor:
        """Bool ``(width,)``: which latents are dead.

        The horizon is ``dead_after`` rows. In a run that sees fewer than ten times as many (at its
        longest, where it may end early), a tenth of the run is enough.
        """
        tenth = max(1, clock.total * clock.rows_per_step // 10)
        return self.silent_rows >= min(self.dead_after, tenth)
