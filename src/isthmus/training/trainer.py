"""The one training loop: any autoencoder, any number of players, exact resume."""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy import MODEL, Autoencoder, Clock, Losses, Source
from isthmus.errors import IsthmusError
from isthmus.kernels.allocator import keep_freed_memory
from isthmus.training.average import WeightAverage
from isthmus.training.batches import Batches
from isthmus.training.callbacks import Callback, Record, TensorBoard
from isthmus.training.checkpoint import METRICS, Checkpoint, write_checkpoint
from isthmus.training.forensics import investigate, users_rows
from isthmus.training.interrupt import CtrlC, Interrupted
from isthmus.training.optimisers import check_groups, learning_rate, make_optimiser
from isthmus.training.options import TrainingOptions
from isthmus.training.progress import ProgressBar, Show
from isthmus.training.reference import ROWS, reference_triples
from isthmus.training.row_adam import RowAdam, row_weights
from isthmus.training.seeds import seed_step
from isthmus.training.state import flatten, optimiser_state, restore_optimiser, unflatten
from isthmus.training.validation import Judge, held_parts

PREPARE_ROWS = 1 << 15
SAVE_SECONDS = 60.0


class Trainer:
    """Trains ``model`` on ``source``.

    ``folder`` is where checkpoints and the log go (nowhere if None); ``config`` is what the caller
    wants in ``config.json``. ``validation`` holds rows for early stopping. The state after step t
    depends on the data, the options and t alone, never on when the run was saved, killed or
    looked at.

    :meth:`run` does it all. :class:`~isthmus.training.many.Together` calls the pieces instead, for
    several trainers in turn: :meth:`build`, :meth:`start`, :meth:`advance` once a step,
    :meth:`finish` and :meth:`end`.
    """

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
        if options.batch_size % options.accumulate:
            raise IsthmusError(
                f"accumulate={options.accumulate} does not divide batch_size="
                f"{options.batch_size}: choose a divisor"
            )
        self.total = options.total_steps(self.batches.steps_per_epoch)
        self.step = 0
        self.stopped = False
        self.best: dict[str, Any] = {"loss": math.inf, "step": -1, "waited": 0}
        self.best_weights: dict[str, Tensor] = {}
        self.history: list[Record] = []
        self.parameters: dict[str, list[nn.Parameter]] = {}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.callbacks = list(callbacks)
        if options.tensorboard and folder is not None:
            self.callbacks.append(TensorBoard(folder / "tensorboard"))
        self.save_seconds = SAVE_SECONDS
        self._log_bytes = 0
        self._saved_step = -1
        self._built = self.begun = False

    # --- setting up --------------------------------------------------------------------------

    def build(self, sample: Tensor | None = None, first: Tensor | None = None) -> None:
        """Set the model up from the data and make the optimisers, where that is still to be done.

        ``sample`` is ``batches.sample(PREPARE_ROWS)`` and ``first`` the first ``ROWS`` rows, where
        the caller has read them already.
        """
        if self._built:
            return
        if sample is None:
            sample = self.batches.sample(PREPARE_ROWS)
        if first is None:
            first = self.source.rows(torch.arange(min(ROWS, len(self.source))))
        self._sample = first
        self.model.to(self.device)
        seed_step(self.device, self.options.seed, 3)
        with torch.no_grad():
            self.model.prepare(sample.to(self.device))
        self._equip()

    def _equip(self) -> None:
        """Optimisers, schedules and hooks, from the model and the options alone."""
        options, model = self.options, self.model
        keep_freed_memory()
        model.to(self.device)
        check_groups(model, options.groups)
        names = {id(p): n for n, p in model.named_parameters()}
        self.players = model.objective.players
        self.parameters = {
            player: [p for p in model.player_parameters(player) if p.requires_grad]
            for player in self.players
        }
        for player, params in self.parameters.items():
            if not params:
                raise IsthmusError(f"the {player} has no weights to train: unfreeze some of them")
        self.optimisers = {
            player: make_optimiser(
                [(names[id(p)], p) for p in params], options, row_weights(model, params)
            )
            for player, params in self.parameters.items()
        }
        self.rate = learning_rate(options, self.total)
        self.average = None if options.average is None else WeightAverage(model, options.average)
        self.before = {p: _hooks(model, "before_update", p) for p in self.players}
        self.after = {p: _hooks(model, "after_update", p) for p in self.players}
        self.constraints = _hooks(model, "constrain", MODEL)
        if options.compile:
            for part in (model.encoder, model.decoder):
                if isinstance(part, nn.Module) and any(True for _ in part.parameters()):
                    part.compile()
        self._built = True

    # --- the loop ----------------------------------------------------------------------------

    def run(self) -> Autoencoder:
        """Train to the end and return the model, in evaluation mode, with its final weights."""
        try:
            with torch.random.fork_rng(devices=cuda_devices(self.device)), CtrlC() as ctrl_c:
                self.build()
                self.start()
                self._loop(ctrl_c)
                self.finish()
        finally:
            self.end()
        return self.model

    def start(self) -> None:
        """Before the first step of this process; a fresh run replaces what its folder holds."""
        for callback in self.callbacks:
            callback.on_start(self)
        if not self.begun and self.folder is not None:
            self._replace_run()
        self.begun = True
        self._first, self._since = self.step, time.monotonic()
        self._saved = self._since
        self.model.train()

    def _loop(self, ctrl_c: CtrlC) -> None:
        bar = ProgressBar(self.title, self.total, "rows", self.progress, done=self.step)
        with bar:
            while self.running:
                index = self.batches.index(self.step)
                losses = self.advance(self.source.rows(index), index)
                if self.validation_due:
                    self.validate()
                if bar.due or self.step == self.total:
                    note = " ".join(
                        f"{n} {v.item():.4g}" for o in losses.values() for n, v in o.terms.items()
                    )
                    rows = (self.step - self._first) * self.options.batch_size
                    bar.draw(self.step, rows, note, f"{self.title} · epoch {self.epoch}")
                if ctrl_c.pressed and self.running:
                    self._stop_here()
                if self.save_due:
                    self.save()

    @property
    def running(self) -> bool:
        """Whether there is a step left to train."""
        return self.step < self.total and not self.stopped

    @property
    def epoch(self) -> int:
        """The pass over the data that the latest step belongs to, counted from 1."""
        return max(0, self.step - 1) // self.batches.steps_per_epoch + 1

    def advance(self, batch: Tensor, index: Tensor) -> dict[str, Losses]:
        """One step on the rows ``batch`` with the numbers ``index``, and its record in the log.

        They must be the batch of this step. The losses are by player. Validation and saving are
        left to the caller: see :attr:`validation_due` and :attr:`save_due`.
        """
        losses = self._train_step(batch.to(self.device), index)
        self.step += 1
        for callback in self.callbacks:
            callback.on_step(self, self.step)
        if self.step % self.options.log_every == 0 or self.step == self.total:
            rows = (self.step - self._first) * self.options.batch_size
            rate = rows / (time.monotonic() - self._since)
            self.log({**self._record(losses), "rows_per_second": round(rate, 1)})
        return losses

    def _train_step(self, batch: Tensor, index: Tensor) -> dict[str, Losses]:
        clock = Clock(self.step, self.total, self.options.batch_size)
        seed_step(self.device, self.options.seed, 4, self.step)
        rate = self.rate(clock)
        for optimiser in self.optimisers.values():
            # Asked for afresh: loading an optimiser's state replaces its groups.
            for group in optimiser.param_groups:
                group["lr"] = rate * group.get("lr_factor", 1.0)
        losses: dict[str, Losses] = {}
        for player in self.players:
            losses[player] = self._player_step(player, batch, index, clock)
        if self.average is not None:
            self.average.update(self.step)
        return losses

    def _player_step(self, player: str, batch: Tensor, index: Tensor, clock: Clock) -> Losses:
        own, done = self.parameters[player], []
        if len(self.players) > 1:
            for name, parameters in self.parameters.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == player)
        parts = self.options.accumulate
        size = len(batch) // parts
        for i in range(parts):
            x = batch if parts == 1 else batch[i * size : (i + 1) * size]
            try:
                with self.autocast():
                    out = self.model(x, clock)
                    losses: Losses = self.model.objective(self.model, out, player)
            except ValueError as problem:
                if "more than 1 value per channel" not in str(problem):
                    raise
                raise IsthmusError(
                    "batch normalisation needs more than one row at a time: raise batch_size or "
                    "lower accumulate"
                ) from problem
            if not math.isfinite(losses.total.item()):
                rows = users_rows(self.source, index[i * size : (i + 1) * size])
                raise investigate(self.model, out, player, rows, x, self.folder)
            (losses.total if parts == 1 else losses.total / parts).backward()
            done.append(losses)
        if self.options.clip is not None:
            nn.utils.clip_grad_norm_(own, self.options.clip)
        for hook in self.before[player]:
            hook()
        optimiser = self.optimisers[player]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        for hook in self.after[player]:
            hook()
        return done[0] if parts == 1 else _mean(done)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The precision of the run's forward passes."""
        if self.options.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    # --- validation and the log --------------------------------------------------------------

    @property
    def validation_due(self) -> bool:
        """Whether the latest step is one after which the held-out rows are looked at."""
        if self.validation is None:
            return False
        every = self.options.validate_every or self.batches.steps_per_epoch
        return self.step % every == 0 or self.step == self.total

    def validate(self) -> None:
        """The losses of the held-out rows, for the log and for early stopping."""
        assert self.validation is not None
        with Judge(self) as judge:
            for part in held_parts(self.validation, self.options.batch_size):
                judge.see(*part)
            judge.weigh()
        judge.report()

    def _record(self, losses: dict[str, Losses]) -> Record:
        record: Record = {
            "step": self.step,
            "epoch": round(self.step / self.batches.steps_per_epoch, 4),
            "lr": self.rate(Clock(self.step - 1, self.total, self.options.batch_size)),
        }
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
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
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
    def save_due(self) -> bool:
        """Whether it is time for a checkpoint; the last one is :meth:`finish`'s."""
        if self.folder is None or self.step == self.total:
            return False
        if self.options.save_every:
            return self.step % self.options.save_every == 0
        return time.monotonic() - self._saved > self.save_seconds

    def save(self) -> None:
        """Write a checkpoint from which :meth:`restore` goes on exactly."""
        assert self.folder is not None
        state: dict[str, Tensor] = {
            f"model.{n}": t.clone() for n, t in self.model.state_dict().items()
        }
        progress: dict[str, Any] = {
            "step": self.step,
            "total": self.total,
            "finished": self.step >= self.total or self.stopped,
            "log_bytes": self._log_bytes,
            "best": {**self.best, "loss": _finite(self.best["loss"])},
            "optimisers": {
                name: optimiser_state(optimiser, name, state)
                for name, optimiser in self.optimisers.items()
            },
            "best_weights": flatten(self.best_weights, "best", state),
            "average": None,
        }
        if self.average is not None:
            progress["average"] = flatten(self.average.mean, "average", state)
        with self.averaged():
            live = {n: t.clone() for n, t in self.model.state_dict().items()}
            if progress["finished"] and self.best_weights:
                self.model.load_state_dict(self.best_weights)
            weights = {n: t.clone() for n, t in self.model.state_dict().items()}
            reference = reference_triples(self.model, self._sample)
            self.model.load_state_dict(live)
        write_checkpoint(self.folder, Checkpoint(self.config, weights, reference, state, progress))
        self._saved_step, self._saved = self.step, time.monotonic()
        for callback in self.callbacks:
            callback.on_save(self, self.folder)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the state that ``checkpoint`` holds, before :meth:`run`."""
        self._sample = checkpoint.reference["input"]
        self._equip()
        tensors, progress = checkpoint.state, checkpoint.progress
        model = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        self.model.load_state_dict(model)
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, progress["optimisers"][name], tensors)
        if self.average is not None:
            for name, tensor in unflatten(progress["average"], tensors).items():
                self.average.mean[name].copy_(tensor)
        self.step, self.stopped = progress["step"], progress["finished"]
        best = progress["best"]
        self.best = {**best, "loss": math.inf if best["loss"] is None else best["loss"]}
        self.best_weights = unflatten(progress["best_weights"], tensors)
        self._saved_step, self.begun = self.step, True
        if self.folder is not None and (self.folder / METRICS).exists():
            log = self.folder / METRICS
            self._log_bytes = min(progress["log_bytes"], log.stat().st_size)
            os.truncate(log, self._log_bytes)
            self.history = _records(log)

    def _replace_run(self) -> None:
        """A checkpoint of the start, from which a run killed early goes on; an earlier run goes."""
        assert self.folder is not None
        self.save()
        (self.folder / METRICS).unlink(missing_ok=True)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in the model for a while, where the run averages."""
        if self.average is None:
            yield
            return
        live = {name: p.detach().clone() for name, p in self.average.live.items()}
        self._use_average()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.average.live.items():
                    parameter.copy_(live[name])

    def _use_average(self) -> None:
        """End on the averaged weights, within the model's constraints."""
        assert self.average is not None
        self.average.apply()
        for hook in self.constraints:
            hook()

    def finish(self) -> None:
        """After the last step: save, and end with the weights that the options promise."""
        if self.folder is not None and self._saved_step != self.step:
            self.save()
        if self.best_weights:
            self.model.load_state_dict(self.best_weights)
        elif self.average is not None:
            self._use_average()

    def end(self) -> None:
        """Leave the model as users meet it, however the run ended."""
        for optimiser in self.optimisers.values():
            if isinstance(optimiser, RowAdam):
                optimiser.release()
        for parameters in self.parameters.values():
            for parameter in parameters:
                parameter.requires_grad_(True)
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


def resolve_device(name: str) -> torch.device:
    """``auto`` is the first accelerator there is; an absent one is an error."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise IsthmusError(f"the device {name!r} is not there: use device=auto") from None
    return device


def _records(log: Path) -> list[Record]:
    """The records of a log; what follows a line that a power cut tore is left out."""
    records: list[Record] = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _mean(parts: list[Losses]) -> Losses:
    """The losses of a batch from those of its equal parts."""
    total = torch.stack([part.total.detach() for part in parts]).mean()
    names = parts[0].terms
    terms = {n: torch.stack([part.terms[n] for part in parts]).mean() for n in names}
    return Losses(total, terms)


def _hooks(model: Autoencoder, name: str, player: str) -> list[Callable[[], None]]:
    """The methods of that name on the parts of one player, so that each runs once a step."""
    theirs = set(model.critics.modules())
    parts = (
        (part for part in model.modules() if part not in theirs)
        if player == MODEL
        else model.critics[player].modules()
    )
    return [getattr(part, name) for part in parts if hasattr(part, name)]


def cuda_devices(device: torch.device) -> list[torch.device]:
    """The devices beside the CPU whose generators a run on ``device`` seeds."""
    return [device] if device.type == "cuda" else []


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
