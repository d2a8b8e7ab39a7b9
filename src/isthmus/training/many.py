"""Several trainers on one pass over the data: each batch is read once and given to all of them."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from isthmus.anatomy import Autoencoder, Batch
from isthmus.errors import IsthmusError
from isthmus.training.device import threads_of
from isthmus.training.interrupt import CtrlC, Interrupted
from isthmus.training.journal import commit, located, recover
from isthmus.training.lock import claims
from isthmus.training.prefetch import reading
from isthmus.training.progress import ProgressBar, Show
from isthmus.training.reference import ROWS
from isthmus.training.run import PREPARE_ROWS, SAVE_SECONDS, Run
from isthmus.training.validation import Validation, held_parts

MANIFEST = "many.json"
FORMAT = 1
T = TypeVar("T")


class VariantsFailed(IsthmusError):
    """Some variants failed; the others were trained to their end.

    ``failed`` holds what went wrong, by name, and ``models`` the fitted others.
    """

    def __init__(
        self,
        failed: Mapping[str, Exception],
        models: Mapping[str, Autoencoder],
        folder: Path | None = None,
    ) -> None:
        self.failed, self.models = dict(failed), dict(models)
        names = " and ".join(map(repr, failed))
        where = "in .models of this error" if folder is None else f"saved in {folder}"
        others = f"; the other {len(models)} finished and are {where}" if models else ""
        first = next(iter(failed.values()))
        kind = "" if isinstance(first, IsthmusError) else f"{type(first).__name__}: "
        what = "variant" if len(failed) == 1 else "variants"
        super().__init__(f"the {what} {names} failed ({kind}{first}){others}")


class Together:
    """Trains ``trainers``, by name, side by side; :meth:`run` returns their models by name.

    They share the source, the batch size and the order of the rows; all else is each one's own:
    its steps, its optimiser, its validation, its folder. A trainer ends with the same bits as by
    itself. Runs that were restored at different steps meet at the earliest: those ahead wait.
    One that fails leaves, the others go on, and at the end comes :class:`VariantsFailed`.

    ``folder`` is where the list of the names is kept, ``many.json``. Without ``save_every`` a
    trainer is saved every so many minutes as there are trainers, so that saving takes no larger
    part of the time than in a run by itself.
    """

    def __init__(
        self,
        trainers: Mapping[str, Run],
        *,
        folder: Path | None = None,
        progress: Show = "auto",
        title: str = "fit-many",
    ) -> None:
        first = next(iter(trainers.values()))
        for other in trainers.values():
            pairs = (
                (other.source, first.source),
                (other.validation, first.validation),
            )
            if (
                any(a is not b for a, b in pairs)
                or other.batches.batch_size != first.batches.batch_size
                or other.batches.seed != first.batches.seed
            ):
                raise IsthmusError(
                    "trainers share one pass only if source, validation, batch_size and data_seed "
                    "are the same for all: build them so"
                )
            other.save_seconds = SAVE_SECONDS * len(trainers)
        self.source, self.validation, self.batches = first.source, first.validation, first.batches
        self.running = dict(trainers)
        self.names, self.folder = list(trainers), folder
        self.progress, self.title = progress, title
        self.ahead: bool | None = None
        """As of a run: whether a thread reads the batches of coming steps."""
        self.models: dict[str, Autoencoder] = {}
        self.failed: dict[str, Exception] = {}

    def run(self) -> dict[str, Autoencoder]:
        """Train all to their ends and return the models, in the order of the trainers."""
        try:
            configs = [t.config for t in self.running.values()]
            with claims(), threads_of(configs), CtrlC() as ctrl_c:
                self._start()
                self._loop(ctrl_c)
        finally:
            for name in list(self.running):
                self._leave(name)
        models = {name: self.models[name] for name in self.names if name in self.models}
        if self.failed:
            first = next(iter(self.failed.values()))
            raise VariantsFailed(self.failed, models, self.folder) from first
        return models

    def _start(self) -> None:
        """Set all up before the first one replaces an earlier run in its folder."""
        fresh = [t for t in self.running.values() if not t.begun]
        if fresh:
            sample = self.batches.sample(PREPARE_ROWS)
            rows = self.source.batch(torch.arange(min(ROWS, len(self.source))))
            for trainer in fresh:
                trainer.build(sample, rows)
            if self.folder is not None:
                recover(self.folder)
                (self.folder / MANIFEST).unlink(missing_ok=True)
        for trainer in self.running.values():
            trainer.start()
        if fresh and self.folder is not None:
            write_manifest(self.folder, self.names)

    def _loop(self, ctrl_c: CtrlC) -> None:
        first = min(t.step for t in self.running.values())
        total = max(t.total for t in self.running.values())
        size = self.batches.batch_size
        device = next(iter(self.running.values())).device
        bar = ProgressBar(self.title, total, "rows", self.progress, done=first)
        with bar, reading(self.batches, device, total, self.ahead) as batches:
            while self.running:
                step = min(t.step for t in self.running.values())
                now = {name: t for name, t in self.running.items() if t.step == step}
                self._step(now, batches[step])
                for name, trainer in now.items():
                    if not trainer.running:
                        self._finish(name, trainer)
                if bar.due or not self.running:
                    total = max((t.total for t in self.running.values()), default=step + 1)
                    epoch = step // self.batches.steps_per_epoch + 1
                    note = f"{self._note()} · epoch {epoch}"
                    bar.draw(step + 1, (step + 1 - first) * size, note, total=total)
                if ctrl_c.pressed and self.running:
                    self._stop_here(step + 1, total)
                self._each({n: t for n, t in now.items() if t.save_due}, Run.save)

    def _step(self, now: Mapping[str, Run], batch: Batch) -> None:
        """One batch, and where it is time the held-out rows, read once for those at this step."""
        batch = batch.to(next(iter(now.values())).device)
        self._each(now, partial(Run.advance, batch=batch))
        due = {name: t for name, t in now.items() if name in self.running and t.validation_due}
        if not due:
            return
        assert self.validation is not None
        with contextlib.ExitStack() as stack:
            judges = {name: stack.enter_context(Validation(t)) for name, t in due.items()}
            for number, batch in held_parts(self.validation, self.batches.batch_size):
                self._each(judges, partial(Validation.see, number=number, batch=batch))
            self._each(judges, Validation.weigh)
        self._each(judges, Validation.report)

    def _each(self, things: Mapping[str, T], action: Callable[[T], object]) -> None:
        """Do it for each that still runs; one that fails is noted and leaves."""
        for name, thing in things.items():
            if name not in self.running:
                continue
            try:
                action(thing)
            except Exception as problem:  # whatever it is, it must not cost the others their run
                self.failed[name] = problem
                self._leave(name)

    def _finish(self, name: str, trainer: Run) -> None:
        self._each({name: trainer}, Run.finish)
        if name in self.running:
            self._leave(name)
            self.models[name] = trainer.model

    def _leave(self, name: str) -> None:
        self.running.pop(name).end()

    def _note(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{len(self.running)} of {len(self.names)} running{failed}"

    def _stop_here(self, step: int, total: int) -> None:
        at = f"stopped at step {step} of {total} with {self._note()}"
        if self.folder is None:
            raise Interrupted(f"{at}; nothing was saved, since no folder was given")
        self._each(dict(self.running), Run.save)
        raise Interrupted(f"{at}, and saved; go on with: isthmus resume {self.folder}")


def write_manifest(folder: Path, names: list[str]) -> None:
    """Note which runs in ``folder`` belong together, and in what order."""
    text = json.dumps({"format": FORMAT, "variants": names}, indent=1) + "\n"
    commit(folder, {MANIFEST: lambda path: path.write_text(text)})


def read_manifest(folder: Path) -> list[str] | None:
    """The names of the runs in ``folder`` that belong together; None where there is no list."""
    path = located(folder, MANIFEST)
    if not os.path.exists(path):
        return None
    try:
        content = json.loads(path.read_text())
        names = content["variants"]
        if content["format"] != FORMAT or not all(isinstance(name, str) for name in names):
            raise ValueError("format")
    except (OSError, ValueError, KeyError, TypeError):
        raise IsthmusError(
            f"{path} is damaged or of a newer version: resume the runs in {folder} one by one"
        ) from None
    return list(names)
