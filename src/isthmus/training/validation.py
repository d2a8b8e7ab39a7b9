"""The held-out rows: what a model loses on them, and whether it still gets better."""

import contextlib
import math
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isthmus.anatomy import MODEL, Clock, Source
from isthmus.training.forensics import investigate, users_rows
from isthmus.training.seeds import seed_step

if TYPE_CHECKING:
    from isthmus.training.trainer import Trainer


def held_parts(source: Source, size: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """All rows in parts of at most ``size``: the part's number, its row numbers, its rows."""
    rows = torch.arange(len(source))
    # Parts of nearly equal size: a last part of a row or two would suit no set-level term.
    for number, part in enumerate(rows.tensor_split(-(-len(rows) // size))):
        yield number, part, source.rows(part)


class Judge:
    """One validation of one trainer, which is shown the parts of the held-out rows.

    While entered, the model is in evaluation mode and has its averaged weights, where the run
    averages. Several judges can look at the same parts, so that these are read once.
    """

    def __init__(self, trainer: "Trainer") -> None:
        self.trainer = trainer
        self.sums: dict[str, float] = {}
        self.better = False
        self._weights = contextlib.ExitStack()

    def __enter__(self) -> "Judge":
        self.trainer.model.eval()
        self._weights.enter_context(self.trainer.averaged())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._weights.close()
        self.trainer.model.train()

    @torch.no_grad()
    def see(self, number: int, part: Tensor, rows: Tensor) -> None:
        """Add up the losses of one part, ``rows (len(part), *shape)``."""
        trainer = self.trainer
        assert trainer.validation is not None
        clock = Clock(trainer.step - 1, trainer.total, trainer.options.batch_size)
        seed_step(trainer.device, trainer.options.seed, 5, number)
        x = rows.to(trainer.device)
        with trainer.autocast():
            out = trainer.model(x, clock)
            losses = trainer.model.objective(trainer.model, out)
        if not math.isfinite(losses.total.item()):
            held = users_rows(trainer.validation, part)
            raise investigate(trainer.model, out, MODEL, held, x, trainer.folder)
        share = len(part) / len(trainer.validation)
        for name, value in {"loss": losses.total, **losses.terms}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.item() * share

    def weigh(self) -> None:
        """Keep the weights, if they are the best so far and the run is to end on them."""
        trainer = self.trainer
        self.better = self.sums["loss"] < trainer.best["loss"]
        if self.better and trainer.options.patience is not None:
            state = trainer.model.state_dict()
            trainer.best_weights = {name: t.clone() for name, t in state.items()}

    def report(self) -> None:
        """Log the losses and, where patience is at its end, stop the trainer."""
        trainer, patience = self.trainer, self.trainer.options.patience
        trainer.log({"step": trainer.step, **{f"validation/{k}": v for k, v in self.sums.items()}})
        if self.better:
            trainer.best = {"loss": self.sums["loss"], "step": trainer.step, "waited": 0}
        else:
            trainer.best["waited"] += 1
            trainer.stopped = patience is not None and trainer.best["waited"] >= patience
