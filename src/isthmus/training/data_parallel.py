"""A run in which every rank has the whole model and a part of each batch: PyTorch's own DDP."""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from isthmus import notices
from isthmus.anatomy import Autoencoder, Batch, Losses, Output, Source, Step
from isthmus.anatomy.part import parts_with
from isthmus.errors import IsthmusError
from isthmus.ranks import RankLost, Team, exchanging
from isthmus.training.callbacks import Record
from isthmus.training.checkpoint import Checkpoint
from isthmus.training.options import TrainingOptions
from isthmus.training.ranked_run import RankedRun
from isthmus.training.seeding import seeded
from isthmus.training.stepper import Stepper

_OF_PEERS = ("gloo", "nccl", "connection", "timed out", "peer")
"""Words of what PyTorch says where another rank is gone."""


class _Pass(nn.Module):
    """The forward pass with the loss, as one module: DDP wraps that."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, at: Step, player: str, look: Callable[[Output], None], kept: list[Any]
    ) -> Tensor:
        out = self.model(batch, at)
        look(out)
        losses = self.model.objective(self.model, out, player)
        kept += [out, losses]
        total: Tensor = losses.total
        return total


class DataParallelStepper(Stepper):
    """As :class:`Stepper` on a rank's rows; gradients are the means over ranks.

    ``sample`` are a few rows of the data, on which it is seen whether all weights get gradients.
    """

    def __init__(
        self,
        model: Autoencoder,
        options: TrainingOptions,
        team: Team,
        sample: Batch,
        **about: Any,
    ) -> None:
        super().__init__(model, options, **about)
        self.team = team
        device = [self.device] if self.device.type == "cuda" else None
        with _peers():
            self.wrapped = DistributedDataParallel(
                _Pass(model),
                device_ids=device,
                find_unused_parameters=has_unused(model, sample.to(self.device)),
            )

    def step(self, batch: Batch, step: int) -> dict[str, Losses]:
        with _peers():
            return super().step(batch, step)

    def _through(
        self, batch: Batch, at: Step, player: str, look: Callable[[Output], None]
    ) -> tuple[Output, Losses]:
        kept: list[Any] = []
        total = self.wrapped(batch, at, player, look, kept)
        out, losses = kept
        return out, Losses(total, losses.terms)

    def _limit(self, player: str) -> None:
        """As for one process; a loss that is not finite on one rank holds the weights of all."""
        if self.finite.bad is not None:
            with exchanging():
                dist.all_reduce(self.finite.bad, op=dist.ReduceOp.MAX)
        super()._limit(player)

    def _drawn(self, step: int) -> contextlib.AbstractContextManager[Any]:
        """Each rank draws for its own rows."""
        return seeded(self.device, self.options.seed, 4, step, self.team.rank)


class DataParallelRun(RankedRun):
    """A run whose ranks each take a part of every batch, with DDP between them.

    The gradient is that of the whole batch where the loss is a mean over rows. What is estimated
    over a batch (set-level terms, batch normalisation) is over a rank's rows, which is said, and
    buffers are those of rank 0. Each rank draws its own noise. A part that observes whole batches
    is an :class:`IsthmusError`.
    """

    def __init__(
        self,
        model: Autoencoder,
        source: Source,
        options: TrainingOptions,
        *,
        team: Team,
        **about: Any,
    ) -> None:
        if len(model.players()) > 1 or model.stages:
            raise IsthmusError(
                "several players or stages are trained by one process: leave out ranks="
            )
        for part in parts_with(model, "observe"):
            raise IsthmusError(
                f"{type(part).__name__} takes note of the whole batch, of which a rank has a part: "
                "leave out ranks="
            )
        cut = team.count * options.accumulate
        if options.batch_size % cut:
            raise IsthmusError(
                f"batch_size={options.batch_size} cannot be cut into {cut} equal parts, one for "
                f"each of {team.count} ranks: choose a multiple of {cut}"
            )
        super().__init__(model, source, options, team=team, **about)
        self._say(team.count)

    def _say(self, count: int) -> None:
        local = local_figures(self.model)
        if local:
            notices.say(
                f"with ranks={count} the {self.options.batch_size // count} rows of one rank, not "
                f"the batch, are what is seen by {', '.join(local)}"
            )

    def _stepper(
        self, model: Autoencoder, options: TrainingOptions, **about: Any
    ) -> DataParallelStepper:
        return DataParallelStepper(model, options, self.team, self._sample, **about)

    def share(self, index: Tensor) -> Tensor:
        part = len(index) // self.team.count
        return index[self.team.rank * part : (self.team.rank + 1) * part]

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what was saved, which every rank has whole."""
        assert checkpoint.parts is not None
        checkpoint.state = checkpoint.parts.all()
        super().restore(checkpoint)

    def save(self) -> None:
        """Write a checkpoint: every rank has the same, and the first one writes it."""
        if not self.running:
            self.finish()
            return
        problem: Exception | None = None
        try:
            if self.team.first:
                super().save()
            else:
                self._have_saved()
        except Exception as failure:  # said on all ranks
            problem = failure
        self.vote(problem)

    def finish(self) -> None:
        if self.team.first or self._finished:
            super().finish()
        else:
            self._finished = True
            self.stepper.finite.look()
            self._settle()
        self.team.wait_for_first()

    def _record(self, losses: dict[str, Losses]) -> Record:
        """The losses of the whole batch, for the log."""
        return super()._record({player: self._mean(loss) for player, loss in losses.items()})

    def _mean(self, loss: Losses) -> Losses:
        values = torch.stack([loss.total.detach(), *loss.terms.values()]).double()
        with exchanging():
            dist.all_reduce(values)
        total, *terms = (values / self.team.count).unbind()
        return Losses(total, dict(zip(loss.terms, terms, strict=True)))


def has_unused(model: Autoencoder, rows: Batch) -> bool:
    """Whether some weights get no gradient from a loss of a few rows: DDP then looks each time."""
    trial = copy.deepcopy(model).train()
    with seeded(model.device, 0):
        try:
            trial.objective(trial, trial(rows, Step())).total.backward()
        except Exception:  # of a few rows alone, say: to look each time is always right
            return True
    return any(p.grad is None for p in trial.parameters() if p.requires_grad)


def local_figures(model: Autoencoder) -> list[str]:
    """What of a model is estimated over a batch, and so over a rank's part of it."""
    terms = [f"the term {part.term.name}" for part in model.objective if not part.term.per_example]
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return [*terms, *(["batch normalisation"] if norms else [])]


@contextlib.contextmanager
def _peers() -> Any:
    """DDP's own word for a rank that is gone is a :class:`RankLost`."""
    try:
        yield
    except RuntimeError as problem:
        if any(word in str(problem).lower() for word in _OF_PEERS):
            raise RankLost(str(problem)) from problem
        raise
