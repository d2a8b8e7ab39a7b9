"""Whether losses are finite, without waiting for an accelerator at every step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.anatomy import Batch, Losses, Output

Again = Callable[[Output, str, Batch], tuple[Output, Losses]]
"""Repeats the forward pass of a step, of its output without a graph, its player and its batch."""
Investigate = Callable[[Output, str, Batch, Losses], Exception]
"""Makes the error to raise, of an output, its player, its batch and its losses."""

EVERY = 16
"""Steps between two looks where a look waits for the device."""


@dataclass(eq=False)
class _Seen:
    losses: Losses
    out: Output
    player: str
    batch: Batch


class FiniteCheck:
    """Raises what ``report`` says of the first loss that is not finite.

    In main memory every loss is looked at before its gradients are taken. On an accelerator that
    would make each step wait; there the losses of ``EVERY`` steps are looked at together, and what
    is needed to say which one it was is kept until then. ``first`` is the number of the first step.

    Until the look, ``bad`` is a number on the device that is 1 from the first such loss on.
    Optimisers that read it change nothing any more (``held``: all of them do), so that the weights
    are those of the step in question, which is repeated by ``again`` to find out about it.
    """

    def __init__(
        self,
        device: torch.device,
        report: Investigate | None,
        first: int = 0,
        again: Again | None = None,
    ) -> None:
        self.every = 1 if device.type == "cpu" else EVERY
        self.report, self.first, self.again = report, first, again
        self.bad: Tensor | None = None
        self.held = False
        self._seen: list[_Seen] = []
        self._least = self._latest = math.inf

    @property
    def grew(self) -> bool:
        """Whether the latest finite loss was over ten times the least."""
        return math.isfinite(self._latest) and self._latest > 10 * max(0.0, self._least)

    def _note(self, value: float) -> None:
        self._latest = value
        self._least = min(self._least, value)

    def see(self, losses: Losses, out: Output, player: str, batch: Batch) -> None:
        """Take note of a loss; look at what was noted where it is time."""
        if self.every == 1:
            value = losses.total.item()
            if not math.isfinite(value):
                raise self._error(_Seen(losses, out, player, batch))
            self._note(value)
            return
        worse = (~losses.total.detach().isfinite()).float()
        self.bad = worse if self.bad is None else torch.maximum(self.bad, worse)
        self._seen.append(_Seen(_detached(losses), _light(out), player, batch))
        if len(self._seen) >= self.every:
            self.look()

    def look(self) -> None:
        """Look at everything noted so far."""
        seen, self._seen = self._seen, []
        if not seen:
            return
        totals = torch.stack([one.losses.total.float() for one in seen]).tolist()
        for one, value in zip(seen, totals, strict=True):
            if not math.isfinite(value):
                raise self._error(one)
            self._note(value)

    def _error(self, one: _Seen) -> Exception:
        if self.report is None:
            return FloatingPointError(
                f"the loss of the {one.player} is not finite at step "
                f"{self.first + one.out.clock.step}"
            )
        out, losses = one.out, one.losses
        if self.every > 1 and self.held and self.again is not None:
            repeated = self.again(out, one.player, one.batch)
            if not bool(repeated[1].total.isfinite()):  # of several players draws may differ
                out, losses = repeated
        return self.report(out, one.player, one.batch, losses)


def _detached(losses: Losses) -> Losses:
    return Losses(losses.total.detach(), losses.terms)


def _light(out: Output) -> Output:
    """An output without its graph: where the run stood."""
    return Output(out.x, out.target, [], [], step=out.step)
