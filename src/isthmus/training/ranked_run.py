"""A run by several ranks: what they decide together, whatever each of them holds."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Source
from isthmus.ranks import RankLost, Team, exchanging
from isthmus.training.interrupt import CtrlC, Interrupted
from isthmus.training.options import TrainingOptions
from isthmus.training.progress import ProgressBar
from isthmus.training.run import Run
from isthmus.training.validation import Validation, held_parts


class RankedRun(Run):
    """As :class:`Run`, by the ranks of ``team``, of which rank 0 writes the log and the progress.

    Every rank takes the same steps, and whatever could differ between them is decided by one or by
    all: once a step they exchange three whole numbers, which say whether any failed to read or to
    write, was interrupted, and whether rank 0 thinks it time to save.
    """

    def __init__(
        self,
        model: Autoencoder,
        source: Source,
        options: TrainingOptions,
        *,
        team: Team,
        folder: Path | None = None,
        **about: Any,
    ) -> None:
        if not team.first:
            about.update(callbacks=(), progress=False)
        super().__init__(model, source, options, folder=folder if team.first else None, **about)
        self.team, self.place = team, folder

    @property
    def saves(self) -> bool:
        return self.place is not None

    def share(self, index: Tensor) -> Tensor:
        """The row numbers that this rank reads of those of a batch."""
        raise NotImplementedError

    def exchanged(self, batch: Batch) -> Batch:
        """What this rank trains on, of what it read."""
        return batch

    def _loop(self, ctrl_c: CtrlC) -> None:
        bar = ProgressBar(self.title, self.total, "rows", self.progress, done=self.step)
        with bar:
            while self.running:
                batch, problem = self._read()
                interrupted, due = self.vote(problem, ctrl_c.pressed, self.save_due)
                if interrupted:
                    self._stop_here()
                if due and self._saved_step != self.step:
                    self.save()
                assert batch is not None
                losses = self.advance(self.exchanged(batch))
                if self.validation_due:
                    self.validate()
                if bar.due or self.step == self.total:
                    rows = (self.step - self._first) * self.options.batch_size
                    bar.draw(self.step, rows, self._note(losses))

    def _read(self) -> tuple[Batch | None, Exception | None]:
        """The rows that this rank reads for the next step, or what went wrong."""
        index = self.batches.index(self.step)
        try:
            return self.source.batch(self.share(index)), None
        except Exception as problem:  # said on all ranks, whatever it is
            return None, problem

    def vote(
        self, problem: Exception | None, interrupted: bool = False, due: bool = False
    ) -> tuple[bool, bool]:
        """Whether any rank was interrupted, and whether rank 0 is to save; an error on any is one
        on all: that of the lowest rank, in its words."""
        failed = 0 if problem is None else self.team.count - self.team.rank
        word = torch.tensor([failed, int(interrupted), int(due and self.team.first)])
        with exchanging():
            dist.all_reduce(word, op=dist.ReduceOp.MAX)
        worst, stop, save = word.tolist()
        if worst:
            if problem is not None and failed == worst:
                raise problem
            raise RankLost("another rank failed, and says why")
        return bool(stop), bool(save)

    def validate(self) -> None:
        assert self.validation is not None
        with Validation(self) as judge:
            for part in held_parts(self.validation, self.options.batch_size):
                judge.see(*part)
            for figure in judge.sums.values():
                broadcast(figure)
            judge.weigh()
        judge.report()

    def _stop_here(self) -> None:
        at = f"stopped at step {self.step} of {self.total}"
        if self.place is None:
            raise Interrupted(f"{at}; nothing was saved, since no folder was given")
        self.save()
        raise Interrupted(f"{at} and saved; go on with: isthmus resume {self.place}")


def broadcast(tensor: Tensor) -> None:
    """Have rank 0's values on all ranks, in place."""
    with exchanging():
        dist.broadcast(tensor, 0)
