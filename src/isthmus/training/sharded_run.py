"""A run of one dictionary on several ranks: each holds its latents, rank 0 writes the log."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Losses, Output, Source
from isthmus.errors import IsthmusError
from isthmus.ranks import Shard, Team, holding
from isthmus.training.checkpoint import Checkpoint, write_checkpoint
from isthmus.training.interrupt import CtrlC
from isthmus.training.non_finite_loss import NonFiniteLoss, place_in_data
from isthmus.training.optimisers import optimiser_class
from isthmus.training.options import TrainingOptions
from isthmus.training.ranked_run import RankedRun, broadcast
from isthmus.training.reference import stored
from isthmus.training.run import copied
from isthmus.training.sharded_stepper import ShardedStepper
from isthmus.training.sharding import (
    check_shardable,
    gathered,
    make_whole,
    shard_model,
    sliced,
    width_of,
)
from isthmus.training.state_parts import part_name, write_part

BY_ELEMENT = ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad")
"""Optimisers that treat every number of a weight by itself."""


class ShardedRun(RankedRun):
    """A run of a sparse dictionary of which each rank holds its latents: see :mod:`isthmus.ranks`.

    With ``split_rows`` each reads its share of a batch, every so many rows of it, and they exchange
    rows; otherwise each reads all. The training state is saved in parts, which any number of ranks
    can go on with, and rank 0 ends with the whole model, which is saved as that of one process.
    """

    def __init__(
        self,
        model: Autoencoder,
        source: Source,
        options: TrainingOptions,
        *,
        team: Team,
        split_rows: bool = False,
        **about: Any,
    ) -> None:
        check_shardable(model, team.count)
        _check_options(options)
        super().__init__(model, source, options, team=team, **about)
        self.split_rows = split_rows
        self.shard = Shard(team.rank, team.count, width_of(model))
        self.whole = True
        """Whether the model has all its latents: before the first step, and at the end."""

    # --- setting up --------------------------------------------------------------------------

    def _stepper(
        self, model: Autoencoder, options: TrainingOptions, **about: Any
    ) -> ShardedStepper:
        if self.whole:
            shard_model(model, self.shard)
            self.whole = False
            self._align()
        return ShardedStepper(model, options, self.shard, **about)

    def _align(self) -> None:
        """Start from the same whole tensors on all ranks, whatever their processors round."""
        names = sliced(self.model)
        for name, tensor in self.model.state_dict().items():
            if name not in names:
                broadcast(tensor)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what was saved by any number of ranks; ``checkpoint`` has it in parts."""
        parts, shard = checkpoint.parts, self.shard
        assert parts is not None
        shard_model(self.model, shard)
        self.whole = False
        # Which of the optimisers' tensors have a row a latent is known once there are optimisers.
        self._equip()
        rows = self._sliced()
        self.stepper.release()
        checkpoint.state = {
            name: parts.read(name, shard.start, shard.stop) if rows(name) else parts.read(name)
            for name in parts.names
        }
        super().restore(checkpoint)

    def _sliced(self) -> Callable[[str], bool]:
        """Says of a name in the state whether that tensor has a row a latent."""
        names = sliced(self.model)
        owners = {id(p): n for n, p in self.model.named_parameters()}
        order = {
            f"optimiser.{player}.{i}": owners[id(parameter)]
            for player, optimiser in self.stepper.optimisers.items()
            for i, parameter in enumerate(
                p for group in optimiser.param_groups for p in group["params"]
            )
        }

        def has_rows(name: str) -> bool:
            kind, _, rest = name.partition(".")
            if kind != "optimiser":
                return rest in names
            which, _, what = name.rpartition(".")
            return order[which] in names and what != "step"

        return has_rows

    # --- the loop ----------------------------------------------------------------------------

    def computing(self) -> contextlib.AbstractContextManager[None]:
        return holding(self.shard)

    def _loop(self, ctrl_c: CtrlC) -> None:
        with self.computing():
            super()._loop(ctrl_c)

    def share(self, index: Tensor) -> Tensor:
        return index[self.team.rank :: self.team.count] if self.split_rows else index

    def exchanged(self, batch: Batch) -> Batch:
        """The whole batch, from what each rank read of it."""
        if not self.split_rows:
            return batch
        index, count = self.batches.index(self.step), self.team.count
        x = batch.to(self.device).x
        sent = x.new_zeros((-(-len(index) // count), *x.shape[1:]))
        sent[: len(x)] = x
        # The rows of rank r are r, r + count, ...: side by side they are in order.
        return Batch(self.shard.gather(sent).transpose(0, 1).flatten(0, 1)[: len(index)], index)

    def _not_finite(self, out: Output, player: str, batch: Batch, losses: Losses) -> Exception:
        """What to say of a loss that is not finite: all ranks have the same rows and losses."""
        bad = [name for name, value in losses.terms.items() if not bool(value.isfinite())]
        rows = torch.arange(len(batch)) if batch.rows is None else batch.rows
        numbers = self.source.numbers(rows)
        x = batch.x.flatten(1).cpu()
        where = place_in_data(batch, numbers)
        return NonFiniteLoss(
            bad or ["total"],
            self.leg.start + out.clock.step,
            numbers[~x.isfinite().all(1)].tolist(),
            None,
            f"the data hold NaN or infinity in {where}: drop or fill it" if where else "",
        )

    # --- saving and the end ------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint in parts, from which any number of ranks can go on."""
        if not self.running:
            self.finish()
            return
        self.stepper.finite.look()
        parts, progress = self._write_parts(copied(self.model))
        problem: Exception | None = None
        if self.folder is not None:
            reference = {n: t.contiguous().clone() for n, t in stored(self._sample).items()}
            try:
                self._held.check()
                checkpoint = Checkpoint(self.config, {}, reference, progress=progress)
                write_checkpoint(self.folder, checkpoint, parts=parts)
            except Exception as failure:
                problem = failure
        self.vote(problem)
        self._have_saved()

    def _write_parts(self, live: dict[str, Tensor]) -> tuple[dict[str, str], dict[str, Any]]:
        """Write this rank's part of the state: the checksums of all parts by name, and the rest."""
        assert self.place is not None
        team, has_rows = self.team, self._sliced()
        state, progress = self._state(live)
        name, checksum = part_name(self.step, team.rank, team.count), ""
        problem: Exception | None = None
        try:
            rows = {n for n in state if has_rows(n)}
            checksum = write_part(self.place, name, state, rows, self.shard)
        except Exception as failure:
            problem = failure
        self.vote(problem)
        digest = torch.tensor(list(bytes.fromhex(checksum)), dtype=torch.uint8)
        every = [bytes(row.tolist()).hex() for row in self.shard.gather(digest)]
        return {part_name(self.step, r, team.count): s for r, s in enumerate(every)}, progress

    def finish(self) -> None:
        """After the last step: rank 0 gets the whole model, looks back at the run and saves it."""
        if self._finished:
            return
        self._finished = True
        self.stepper.finite.look()
        due = self.saves and self._saved_step != self.step
        parts, progress = self._write_parts(copied(self.model)) if due else ({}, {})
        self._settle()
        self.stepper.release()
        self._gather()
        if self.team.first:
            with holding(None):
                self._look_back()
                if due:
                    self._held.check()
                    assert self.folder is not None
                    checkpoint = Checkpoint(
                        self.config, copied(self.model), self._reference(), progress=progress
                    )
                    write_checkpoint(self.folder, checkpoint, parts=parts)
        if due:
            self._have_saved()
        self.team.wait_for_first()

    def _gather(self) -> None:
        """The whole model, on every rank whose caller will have it."""
        keeps = self.team.first or not self.team.launched
        state = self.model.state_dict()
        whole = {}
        for name, tensor in gathered(state, sliced(self.model), self.shard):
            if keeps:
                whole[name] = tensor.cpu()
        if keeps:
            make_whole(self.model, whole)
            self.whole = True


def _check_options(options: TrainingOptions) -> None:
    """An error for options that are not the same on some of the rows as on all."""
    if options.compile:
        raise IsthmusError("compile=true is for one process: leave it out, or ranks=")
    name = optimiser_class(options.optimiser).__name__
    if name not in BY_ELEMENT:
        raise IsthmusError(
            f"the optimiser {options.optimiser} looks at whole weights, of which a rank has some "
            f"rows: use one of {', '.join(BY_ELEMENT).lower()}, or leave out ranks="
        )
