"""The one training loop: any autoencoder, any number of players, exact resume."""

import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy import MODEL, Autoencoder, Clock, Losses, Source
from isthmus.errors import IsthmusError
from isthmus.training.average import WeightAverage
from isthmus.training.batches import Batches
from isthmus.training.callbacks import Callback, Record, TensorBoard
from isthmus.training.checkpoint import METRICS, Checkpoint, write_checkpoint
from isthmus.training.forensics import investigate
from isthmus.training.optimisers import check_groups, learning_rate, make_optimiser
from isthmus.training.options import TrainingOptions
from isthmus.training.progress import ProgressBar, Show
from isthmus.training.reference import ROWS, reference_triples
from isthmus.training.seeds import seed_step
from isthmus.training.state import flatten, optimiser_state, restore_optimiser, unflatten

PREPARE_ROWS = 1 << 15
_SAVE_SECONDS = 60.0


class Interrupted(KeyboardInterrupt):
    """The run was stopped by Ctrl-C after saving; the message says how to go on."""


class Trainer:
    """Trains ``model`` on ``source``.

    ``folder`` is where checkpoints and the log go (nowhere if None); ``config`` is what the caller
    wants in ``config.json``. ``validation`` holds rows for early stopping. The state after step t
    depends on the data, the options and t alone, never on when the run was saved, killed or
    looked at.
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
        self.batches = Batches(source, options.batch_size, options.seed)
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
        self.callbacks = list(callbacks)
        if options.tensorboard and folder is not None:
            self.callbacks.append(TensorBoard(folder / "tensorboard"))
        self._log_bytes = 0
        self._saved_step = -1
        self._interrupted = False
        self._built = False

    # --- setting up --------------------------------------------------------------------------

    def _build(self, *, fresh: bool) -> None:
        """Move the model, make optimisers; a fresh run also sets the model up from the data."""
        options, model = self.options, self.model
        model.to(self.device)
        if fresh:
            seed_step(self.device, options.seed, 3)
            with torch.no_grad():
                model.prepare(self.batches.sample(PREPARE_ROWS).to(self.device))
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
            player: make_optimiser([(names[id(p)], p) for p in params], options)
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
        self._sample = self.source.rows(torch.arange(min(ROWS, len(self.source))))
        self._built = True

    # --- the loop ----------------------------------------------------------------------------

    def run(self) -> Autoencoder:
        """Train to the end and return the model, in evaluation mode, with its final weights."""
        self._interrupted = False
        try:
            self._run()
        finally:
            for callback in self.callbacks:
                callback.on_end(self)
            self.model.eval()
        self.model.history, self.model.reference_rows = self.history, self._sample
        return self.model

    def _run(self) -> None:
        with torch.random.fork_rng(devices=_cuda_devices(self.device)), self._ctrl_c():
            fresh = not self._built
            if fresh:
                self._build(fresh=True)
            for callback in self.callbacks:
                callback.on_start(self)
            if fresh and self.folder is not None:
                self._replace_run()
            try:
                self._loop()
            finally:
                for parameters in self.parameters.values():
                    for parameter in parameters:
                        parameter.requires_grad_(True)
            self._finish()

    def _loop(self) -> None:
        options, begun, saved = self.options, time.monotonic(), time.monotonic()
        first = self.step
        spe = self.batches.steps_per_epoch
        validate_every = options.validate_every or spe
        bar = ProgressBar(self.title, self.total, "rows", self.progress, done=self.step)
        self.model.train()
        with bar:
            while self.step < self.total and not self.stopped:
                losses = self._train_step()
                self.step += 1
                last = self.step == self.total
                for callback in self.callbacks:
                    callback.on_step(self, self.step)
                if self.step % options.log_every == 0 or last:
                    rate = (self.step - first) * options.batch_size / (time.monotonic() - begun)
                    self._log({**self._record(losses), "rows_per_second": round(rate, 1)})
                if self.validation is not None and (self.step % validate_every == 0 or last):
                    self._validate()
                if bar.due or last:
                    note = " ".join(
                        f"{n} {v.item():.4g}" for o in losses.values() for n, v in o.terms.items()
                    )
                    rows = (self.step - first) * options.batch_size
                    epoch = f"{self.title} · epoch {(self.step - 1) // spe + 1}"
                    bar.draw(self.step, rows, note, epoch)
                if self._interrupted and not (last or self.stopped):
                    self._stop_here()
                if self.folder is not None and not last:
                    due = (
                        self.step % options.save_every == 0
                        if options.save_every
                        else time.monotonic() - saved > _SAVE_SECONDS
                    )
                    if due:
                        self.save()
                        saved = time.monotonic()

    def _train_step(self) -> dict[str, Losses]:
        clock = Clock(self.step, self.total, self.options.batch_size)
        index = self.batches.index(self.step)
        batch = self.source.rows(index).to(self.device)
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
                with self._autocast():
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
                rows = _users_rows(self.source, index[i * size : (i + 1) * size])
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

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.options.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    # --- validation and the log --------------------------------------------------------------

    @torch.no_grad()
    def _validate(self) -> None:
        assert self.validation is not None
        options, model = self.options, self.model
        sums: dict[str, float] = {}
        rows = torch.arange(len(self.validation))
        # Parts of nearly equal size: a last part of a row or two would suit no set-level term.
        parts = rows.tensor_split(-(-len(rows) // options.batch_size))
        clock = Clock(self.step - 1, self.total, options.batch_size)
        model.eval()
        with self._averaged():
            for n, part in enumerate(parts):
                seed_step(self.device, options.seed, 5, n)
                x = self.validation.rows(part).to(self.device)
                with self._autocast():
                    out = model(x, clock)
                    losses = model.objective(model, out)
                if not math.isfinite(losses.total.item()):
                    held = _users_rows(self.validation, part)
                    raise investigate(model, out, MODEL, held, x, self.folder)
                for name, value in {"loss": losses.total, **losses.terms}.items():
                    sums[name] = sums.get(name, 0.0) + value.item() * len(part) / len(rows)
            better = sums["loss"] < self.best["loss"]
            if better and options.patience is not None:
                self.best_weights = {k: v.clone() for k, v in model.state_dict().items()}
        model.train()
        self._log({"step": self.step, **{f"validation/{k}": v for k, v in sums.items()}})
        if better:
            self.best = {"loss": sums["loss"], "step": self.step, "waited": 0}
        else:
            self.best["waited"] += 1
            self.stopped = options.patience is not None and self.best["waited"] >= options.patience

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

    def _log(self, record: Record) -> None:
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
        with self._averaged():
            live = {n: t.clone() for n, t in self.model.state_dict().items()}
            if progress["finished"] and self.best_weights:
                self.model.load_state_dict(self.best_weights)
            weights = {n: t.clone() for n, t in self.model.state_dict().items()}
            reference = reference_triples(self.model, self._sample)
            self.model.load_state_dict(live)
        write_checkpoint(self.folder, Checkpoint(self.config, weights, reference, state, progress))
        self._saved_step = self.step
        for callback in self.callbacks:
            callback.on_save(self, self.folder)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the state that ``checkpoint`` holds, before :meth:`run`."""
        self._build(fresh=False)
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
        self._saved_step = self.step
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
    def _averaged(self) -> Iterator[None]:
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

    def _finish(self) -> None:
        """Save, and end with the weights that the options promise."""
        if self.folder is not None and self._saved_step != self.step:
            self.save()
        if self.best_weights:
            self.model.load_state_dict(self.best_weights)
        elif self.average is not None:
            self._use_average()

    def _stop_here(self) -> None:
        at = f"stopped at step {self.step} of {self.total}"
        if self.folder is None:
            raise Interrupted(f"{at}; nothing was saved, since no folder was given")
        self.save()
        raise Interrupted(f"{at} and saved; go on with: isthmus resume {self.folder}")

    @contextlib.contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """The first Ctrl-C ends the step and saves; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = signal.getsignal(signal.SIGINT)

        def note(number: int, frame: Any) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, earlier)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, earlier)


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


def _users_rows(source: Source, rows: Tensor) -> Tensor:
    """Row numbers as the user knows them: a part of the data numbers its rows anew."""
    numbers = getattr(source, "index", None)
    return numbers[rows] if isinstance(numbers, Tensor) else rows


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


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
