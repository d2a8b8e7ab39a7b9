"""The held-out rows: what a model loses on them, and whether it still gets better."""

import contextlib
import math
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isthmus.anatomy import MODEL, Batch, Source, Step
from isthmus.training.non_finite_loss import investigate
from isthmus.training.seeding import seeded

if TYPE_CHECKING:
    from isthmus.training.run import Run


def held_parts(source: Source, size: int) -> Iterator[tuple[int, Batch]]:
    """All rows in parts of at most ``size``: the part's number, and its rows."""
    rows = torch.arange(len(source))
    # Parts of nearly equal size: a last part of a row or two would suit no set-level term.
    for number, part in enumerate(rows.tensor_split(-(-len(rows) // size))):
        yield number, source.batch(part)


class Validation:
    """One validation of one run, which is shown the parts of the held-out rows.

    While entered, the model is in evaluation mode and has its averaged weights, where the run
    averages. Several judges can look at the same parts, so that these are read once.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.sums: dict[str, Tensor] = {}
        self.better = self.counts = False
        self._weights = contextlib.ExitStack()

    def __enter__(self) -> "Validation":
        self.run.model.eval()
        self._weights.enter_context(self.run.stepper.averaged())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._weights.close()
        self.run.stepper.train()

    @torch.no_grad()
    def see(self, number: int, batch: Batch) -> None:
        """Add up the losses of one part of the rows."""
        run = self.run
        assert run.validation is not None
        clock = run.stepper.clock(run.step - 1)
        on_device = batch.to(run.device)
        with seeded(run.device, run.options.seed, 5, number), run.stepper.autocast():
            out = run.model(on_device, Step(clock, batch=on_device))
            losses = run.model.objective(run.model, out)
        share = len(batch) / len(run.validation)
        for name, value in {"loss": losses.total, **losses.terms}.items():
            part = value.detach().double() * share
            self.sums[name] = self.sums[name] + part if name in self.sums else part
        if run.device.type == "cpu" and not math.isfinite(losses.total.item()):
            raise investigate(
                run.model, out, MODEL, batch, losses, run.validation, run.folder, run.step - 1
            )

    def weigh(self) -> None:
        """Keep the weights, if they are the best so far and the run is to end on them."""
        run = self.run
        self.figures = {name: value.item() for name, value in self.sums.items()}
        # Before that, the loss is another function: of a smaller weight of the KL, say.
        self.counts = run.step > run.settled
        self.better = self.counts and self.figures["loss"] < run.best["loss"]
        if self.better and run.leg.options.patience is not None:
            state = run.model.state_dict()
            run.best_weights = {name: t.clone() for name, t in state.items()}

    def report(self) -> None:
        """Log the losses and, where patience is at its end, stop the run or its stage."""
        run, patience = self.run, self.run.leg.options.patience
        run.log({"step": run.step, **{f"validation/{k}": v for k, v in self.figures.items()}})
        if not self.counts:
            return
        loss, best = self.figures["loss"], run.best
        best.setdefault("first", loss)
        mark = best.get("mark", math.inf)
        gained = min(abs(mark), best["first"] - mark) if math.isfinite(mark) else 0.0
        enough = loss < mark - self.run.leg.options.min_gain * max(0.0, gained)
        if self.better:
            best.update(loss=loss, step=run.step)
        if enough:
            best.update(mark=loss, waited=0)
            return
        best["waited"] += run.step > run.steady
        if patience is not None and best["waited"] >= patience:
            run.gain_nothing()
