"""A run: a stepper with data, folder, log, validation and exact resume."""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import MODEL, Autoencoder, Batch, Losses, Output, Source, Step, ask
from isthmus.errors import IsthmusError
from isthmus.training import diagnostics
from isthmus.training.batches import Batches
from isthmus.training.callbacks import Callback, Record, TensorBoard
from isthmus.training.checkpoint import METRICS, Checkpoint, read_log, write_checkpoint
from isthmus.training.device import resolve_device, threads_of
from isthmus.training.finishing import tell_finished
from isthmus.training.interrupt import CtrlC, Interrupted
from isthmus.training.lock import Held, claim, claims
from isthmus.training.non_finite_loss import investigate
from isthmus.training.options import TrainingOptions
from isthmus.training.plan import settled, steady
from isthmus.training.prefetch import reading
from isthmus.training.progress import ProgressBar, Show
from isthmus.training.reference import ROWS, examples, reference_triples
from isthmus.training.scores import keep_training_scores
from isthmus.training.seeding import seeded
from isthmus.training.stages import Leg, check_legs, legs_of
from isthmus.training.state import flatten, unflatten
from isthmus.training.stepper import Stepper
from isthmus.training.validation import Validation, held_parts

PREPARE_ROWS = 1 << 15
SAVE_SECONDS = 60.0


class Run:
    """Trains ``model`` on ``source``.

    ``folder`` is where checkpoints and the log go (nowhere if None); ``config`` is what the caller
    wants in ``config.json``. ``validation`` holds rows for early stopping. The state after step t
    depends on the data, the options and t alone, never on when the run was saved, killed or
    looked at. A model of several stages passes through them in turn, each with a share of the
    steps.

    :meth:`run` does it all. :class:`~isthmus.training.many.Together` calls the pieces instead, for
    several runs in turn: :meth:`build`, :meth:`start`, :meth:`advance` once a step,
    :meth:`finish` and :meth:`end`.
    """

    stepper: Stepper
    _stepper: Callable[..., Stepper] = Stepper
    _held: Held

    def __init__(
        self,
        model: Autoencoder,
        source: Source,
        options: TrainingOptions,
        *,
        validation: Source | None = None,
        folder: Path | None = None,
        config: dict[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        progress: Show = "auto",
        title: str = "fit",
    ) -> None:
        self.model, self.source, self.options = model, source, options
        self.validation, self.folder, self.config = validation, folder, config or {}
        self.progress, self.title = progress, title
        self.device = resolve_device(options.device)
        self.batches = Batches(source, options.batch_size, options.order_seed)
        self.total = options.total_steps(self.batches.steps_per_epoch)
        self.legs = legs_of(model, options, self.total, watched=validation is not None)
        self.step = 0
        self.stopped = False
        self.best: dict[str, Any] = {"loss": math.inf, "step": -1, "waited": 0}
        self.best_weights: dict[str, Tensor] = {}
        self.settled = self.steady = 0
        """Before these steps losses are not compared, since a schedule still changes what they are,
        and patience is not lost, since the learning rate still falls."""
        self.history: list[Record] = []
        self.callbacks = list(callbacks)
        if options.tensorboard and folder is not None:
            self.callbacks.append(TensorBoard(folder / "tensorboard"))
        self.save_seconds = SAVE_SECONDS
        self.ahead: bool | None = None
        """Whether a thread reads the batches of coming steps; None: where that pays."""
        self._log_bytes = 0
        self._saved_step = -1
        self._built = self.begun = self._finished = False

    def build(self, sample: Batch | None = None, first: Batch | None = None) -> None:
        """Set the model up from a sample of the data, and make the optimisers.

        ``sample`` are rows for the parts that start from data, ``first`` the first rows of the
        source, which become the reference examples: both are read here, unless the caller has
        read them already.
        """
        if self._built:
            return
        if sample is None:
            sample = self.batches.sample(PREPARE_ROWS)
        if first is None:
            first = self.source.batch(torch.arange(min(ROWS, len(self.source))))
        self._sample = first
        check_legs(self.model, self.legs)
        self.model.to(self.device)
        self.model.stage = 0
        self._prepare(sample)
        self._equip()

    def _prepare(self, sample: Batch) -> None:
        """Set up the parts that the present stage is the first to train."""
        stage = self.model.stage
        if stage in self.model.prepared:  # it goes on as it is
            return
        drawn = seeded(self.device, self.options.seed, 3, *([stage] if stage else []))
        with drawn, torch.no_grad():
            self.model.prepare(
                sample.checked().to(self.device),
                rows=len(self.source),
                batch_size=self.options.batch_size,
                steps=self.leg.steps,
                source=self.source,
            )

    @property
    def leg(self) -> Leg:
        """The stage that is trained now."""
        return self.legs[self.model.stage]

    def _equip(self) -> None:
        """The stepper of the present stage, from the model and the options alone."""
        leg = self.leg
        if leg.options.patience is not None:
            self.settled, self.steady = settled(self.model, leg), steady(leg)
        self.stepper = self._stepper(
            self.model,
            leg.options,
            total=leg.steps,
            rows=len(self.source),
            first=leg.start,
            trains=None if leg.stage is None else leg.stage.trains,
            device=self.device,
            report=self._not_finite,
        )
        self._built = True

    def _not_finite(self, out: Output, player: str, batch: Batch, losses: Losses) -> Exception:
        return investigate(
            self.model, out, player, batch, losses, self.source, self.folder,
            self.leg.start + out.clock.step,
            lr=self.leg.options.peak_lr,
            grew=self.stepper.finite.grew,
            half=self.leg.options.precision != "32",
        )  # fmt: skip

    # --- the loop ----------------------------------------------------------------------------

    def run(self) -> Autoencoder:
        """Train to the end and return the model, in evaluation mode, with its final weights."""
        try:
            with claims(), threads_of([self.config]), CtrlC() as ctrl_c:
                self.build()
                self.start()
                self._loop(ctrl_c)
                self.finish()
        finally:
            self.end()
        return self.model

    def start(self) -> None:
        """Before the first step of this process; a fresh run replaces what its folder holds."""
        if self.folder is not None:
            self._held = claim(self.folder)
        for callback in self.callbacks:
            callback.on_start(self)
        if not self.begun and self.saves:
            self._replace_run()
        self.begun = True
        self._first, self._since = self.step, time.monotonic()
        self._saved = self._since
        self.stepper.train()

    def computing(self) -> contextlib.AbstractContextManager[None]:
        """A block in which the model computes as in the loop."""
        return contextlib.nullcontext()

    def _loop(self, ctrl_c: CtrlC) -> None:
        bar = ProgressBar(self.title, self.total, "rows", self.progress, done=self.step)
        with bar, reading(self.batches, self.device, self.total, self.ahead) as batches:
            while self.running:
                losses = self.advance(batches[self.step])
                if self.validation_due:
                    self.validate()
                if bar.due or self.step == self.total:
                    rows = (self.step - self._first) * self.options.batch_size
                    bar.draw(self.step, rows, self._note(losses))
                if ctrl_c.pressed and self.running:
                    self._stop_here()
                if self.save_due:
                    self.save()

    def _note(self, losses: dict[str, Losses]) -> str:
        """For the bar: the held-out loss where there is one, the loss, where it is, the terms."""
        held = (r["validation/loss"] for r in reversed(self.history) if "validation/loss" in r)
        newest = None if self.validation is None else next(held, None)
        parts = [] if newest is None else [f"held-out {newest:.4g}"]
        parts += [f"loss {loss.total.item():.4g}" for loss in losses.values()]
        terms = [f"{n} {v.item():.4g}" for o in losses.values() for n, v in o.terms.items()]
        return " ".join([*parts, self.where, *(terms if len(terms) > 1 else [])])

    @property
    def running(self) -> bool:
        """Whether there is a step left to train."""
        return self.step < self.total and not self.stopped

    @property
    def epoch(self) -> int:
        """The pass over the data that the latest step belongs to, counted from 1."""
        return max(0, self.step - 1) // self.batches.steps_per_epoch + 1

    @property
    def where(self) -> str:
        """Stage and epoch, for the bar."""
        stage = self.leg.stage
        return f"{'' if stage is None else stage.name + ' · '}epoch {self.epoch}"

    def advance(self, batch: Batch) -> dict[str, Losses]:
        """One step on a batch, and its record in the log.

        It must be the batch of this step. The losses are by player. Validation and saving are
        left to the caller: see :attr:`validation_due` and :attr:`save_due`.
        """
        if self.step == self.leg.stop:
            self._next_stage()
        figures = self._new_epoch()
        losses = self.stepper.step(batch, self.step)
        self.step += 1
        self.model.prepared.add(self.model.stage)
        if self.step == self.total:
            self.stepper.finite.look()
        for callback in self.callbacks:
            callback.on_step(self, self.step)
        if self.step % self.options.log_every == 0 or self.step == self.total:
            self.stepper.finite.look()
            rows = (self.step - self._first) * self.options.batch_size
            rate = rows / (time.monotonic() - self._since)
            record = {**self._record(losses), **figures, "rows_per_second": round(rate, 1)}
            self.log(record)
        elif figures:
            self.log({"step": self.step, **figures})
        return losses

    def _new_epoch(self) -> dict[str, float]:
        """Tell the parts where a pass over the data begins; what they say goes to the log."""
        if self.step == self.leg.start or self.step % self.batches.steps_per_epoch:
            return {}
        figures: dict[str, float] = {}
        parts = self.stepper.renewed
        if not parts:
            return {}
        with seeded(self.device, self.options.seed, 6, self.step):
            for part in parts:
                at = Step(self.stepper.clock(self.step))
                part_figures = ask(part.every_epoch, self.model, self.source, at)
                figures.update({name: float(value) for name, value in (part_figures or {}).items()})
        return figures

    def _next_stage(self) -> None:
        """End the present stage on the weights that it promises, and set the next one up."""
        self.stepper.finite.look()
        self._settle()
        self.stepper.release()
        self.best = {"loss": math.inf, "step": -1, "waited": 0}
        self.best_weights = {}
        self.model.stage += 1
        self._prepare(self.batches.sample(PREPARE_ROWS))
        self._equip()
        self.stepper.train()

    # --- validation and the log --------------------------------------------------------------

    @property
    def validation_due(self) -> bool:
        """Whether the latest step is one after which the held-out rows are looked at."""
        if self.validation is None:
            return False
        every = self.leg.options.validate_every or self.batches.steps_per_epoch
        return (self.step - self.leg.start) % every == 0 or self.step == self.leg.stop

    def validate(self) -> None:
        """The losses of the held-out rows, for the log and for early stopping."""
        assert self.validation is not None
        with Validation(self) as judge:
            for part in held_parts(self.validation, self.options.batch_size):
                judge.see(*part)
            judge.weigh()
        judge.report()

    def gain_nothing(self) -> None:
        """Early stopping: of the present stage, which is the run where there is but one."""
        if self.leg.stop == self.total:
            self.stopped = True
        else:
            self.step = self.leg.stop

    def _record(self, losses: dict[str, Losses]) -> Record:
        record: Record = {
            "step": self.step,
            "epoch": round(self.step / self.batches.steps_per_epoch, 4),
            "lr": self.stepper.lr(self.step - 1),
        }
        if self.leg.stage is not None:
            record["stage"] = self.leg.stage.name
        for player, loss in losses.items():
            prefix = "" if player == MODEL else f"{player}/"
            record[f"{prefix}loss"] = loss.total.item()
            record.update({prefix + name: value.item() for name, value in loss.terms.items()})
        return record

    def log(self, record: Record) -> None:
        """Tell the callbacks, and add a line to ``metrics.jsonl``."""
        self.history.append(record)
        for callback in self.callbacks:
            callback.on_log(self, record)
        if self.folder is not None:
            line = json.dumps(record) + "\n"
            self._held.check()
            try:
                with (self.folder / METRICS).open("a") as handle:
                    handle.write(line)
            except OSError as problem:
                raise IsthmusError(
                    f"cannot write the log in {self.folder}: {problem.strerror}; free some space "
                    "or choose another folder"
                ) from problem
            self._log_bytes += len(line)

    # --- saving, resuming, stopping ----------------------------------------------------------

    @property
    def saves(self) -> bool:
        """Whether checkpoints of the run are written."""
        return self.folder is not None

    @property
    def save_due(self) -> bool:
        """Whether it is time for a checkpoint; the last one is :meth:`finish`'s."""
        if not self.saves or not self.running:
            return False
        if self.options.save_every:
            return self.step % self.options.save_every == 0
        return time.monotonic() - self._saved > self.save_seconds

    def save(self) -> None:
        """Write a checkpoint from which :meth:`restore` goes on exactly."""
        if not self.running:
            self.finish()
            return
        self.stepper.finite.look()  # the last good checkpoint is not replaced by a bad one
        with self.stepper.averaged():
            weights = copied(self.model)
            reference = self._reference()
        self._write(copied(self.model), weights, reference)

    def _reference(self) -> dict[str, Tensor]:
        """The reference triples; a part that draws even then leaves the user's generator alone."""
        with seeded(self.device, self.options.seed, 8):
            triples = reference_triples(self.model, self._sample)
        for name, tensor in triples.items():
            if name.startswith(("code.", "recon", "score")) and not bool(tensor.isfinite().all()):
                raise IsthmusError(
                    f"in evaluation the model returns NaN or infinity ({name}) for the first rows "
                    "of the data, though its losses are finite: look at what its parts do "
                    "otherwise than in training"
                )
        return triples

    def _write(
        self, live: dict[str, Tensor], weights: dict[str, Tensor], reference: dict[str, Tensor]
    ) -> None:
        """A checkpoint of the run's ``live`` state, and of the ``weights`` to be used."""
        assert self.folder is not None
        self._held.check()
        state, progress = self._state(live)
        write_checkpoint(self.folder, Checkpoint(self.config, weights, reference, state, progress))
        self._have_saved()

    def _state(self, live: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What resuming needs besides ``config.json``: tensors by name, and the rest as JSON."""
        state = {f"model.{name}": tensor for name, tensor in live.items()}
        return state, {
            "step": self.step,
            "total": self.total,
            "stage": self.model.stage,
            "finished": not self.running,
            "log_bytes": self._log_bytes,
            "best": {**self.best, "loss": _finite(self.best["loss"])},
            "best_weights": flatten(self.best_weights, "best", state),
            **self.stepper.state(state),
        }

    def _have_saved(self) -> None:
        self._saved_step, self._saved = self.step, time.monotonic()
        if self.folder is None:
            return
        for callback in self.callbacks:
            callback.on_save(self, self.folder)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the state that ``checkpoint`` holds, before :meth:`run`."""
        self._sample = examples(checkpoint.reference, self.model.signal)
        tensors, progress = checkpoint.state, checkpoint.progress
        self.model.stage = progress.get("stage", 0)
        self.model.prepared.update(range(self.model.stage + 1))
        self._equip()
        model = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        self.model.load_state_dict(model)
        self.stepper.restore(progress, tensors)
        self.step, self.stopped = progress["step"], progress["finished"]
        best = progress["best"]
        self.best = {**best, "loss": math.inf if best["loss"] is None else best["loss"]}
        self.best_weights = unflatten(progress["best_weights"], tensors)
        self._saved_step, self.begun = self.step, True
        if self.folder is not None and (self.folder / METRICS).exists():
            log = self.folder / METRICS
            self._log_bytes = min(progress["log_bytes"], log.stat().st_size)
            os.truncate(log, self._log_bytes)
            self.history = read_log(self.folder)

    def _replace_run(self) -> None:
        """A checkpoint of the start, from which a run killed early goes on; an earlier run goes."""
        self.save()
        if self.folder is not None:
            (self.folder / METRICS).unlink(missing_ok=True)

    def _settle(self) -> None:
        """The weights that the options promise: the best where the run keeps them, the average."""
        if self.best_weights:
            self.model.load_state_dict(self.best_weights)
        elif self.stepper.average is not None:
            self.stepper.use_average()

    def finish(self) -> None:
        """After the last step: end with the weights that the options promise, and save; once."""
        if self._finished:
            return
        self._finished = True
        self.stepper.finite.look()
        due = self.saves and self._saved_step != self.step
        live = copied(self.model) if due else {}
        self._settle()
        self._look_back()
        if due:
            self._write(live, copied(self.model), self._reference())

    def _look_back(self) -> None:
        """What is done once the weights are final."""
        tell_finished(self.model, self.source, self.device, self.options.seed)
        diagnostics.look(self)
        keep_training_scores(self.model, self.source, self.model.config, self._sample)

    def end(self) -> None:
        """Leave the model as users meet it, however the run ended."""
        if self._built:
            self.stepper.release()
        for callback in self.callbacks:
            callback.on_end(self)
        self.model.eval()
        self.model.history = self.history
        if self._built:
            self.model.reference_rows = self._sample

    def _stop_here(self) -> None:
        at = f"stopped at step {self.step} of {self.total}"
        if self.folder is None:
            raise Interrupted(f"{at}; nothing was saved, since no folder was given")
        self.save()
        raise Interrupted(f"{at} and saved; go on with: isthmus resume {self.folder}")


def copied(model: Autoencoder) -> dict[str, Tensor]:
    """A copy of all weights and buffers, by name."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
