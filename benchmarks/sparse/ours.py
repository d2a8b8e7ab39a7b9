"""isthmus under the same commands: the public ``isthmus.fit``, held between steps."""

import queue
import threading
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus import data, evaluation, kernels, runs
from isthmus.recipes import get_recipe
from isthmus.training import Callback, Trainer

LOADED = (runs, data, evaluation)
"""Imported here, so that what modules weigh is in memory before a run begins."""


class _Stopped(Exception):
    """The worker is done with the run."""


class Gate(Callback):
    """Lets the trainer do as many steps as :meth:`run` asks for, and times them."""

    def __init__(self) -> None:
        self.orders: queue.Queue[int] = queue.Queue()
        self.answers: queue.Queue[float | BaseException] = queue.Queue()
        self.left, self.trainer = 0, None
        self.begun = 0.0

    def on_start(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._wait()

    def on_step(self, trainer: Trainer, step: int) -> None:
        self.left -= 1
        if self.left == 0:
            self.answers.put(time.perf_counter() - self.begun)
            if step < trainer.total:
                self._wait()

    def _wait(self) -> None:
        self.left = self.orders.get()
        if not self.left:
            raise _Stopped
        self.begun = time.perf_counter()

    def run(self, steps: int) -> float:
        """Seconds of the next ``steps`` steps."""
        self.orders.put(steps)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Isthmus:
    """A run of ``isthmus.fit`` of the recipe ``kind`` on ``data``, in a thread of its own.

    ``path`` chooses the kernels (auto, native, torch, reference). Other options go to the recipe.
    Batches are drawn by the trainer, within the time that is measured.
    """

    def __init__(
        self,
        kind: str,
        data: Any,
        width: int,
        k: int,
        batch: int,
        steps: int,
        seed: int,
        path: str = "auto",
        rate: float = 1.0,
        **options: Any,
    ) -> None:
        kernels.use(path)
        recipe = get_recipe(kind)
        chosen: dict[str, Any] = {
            "latent_dim": width, "batch_size": batch, "steps": steps, "seed": seed, **options,
        }  # fmt: skip
        for name in ("k", "l0"):
            if name in recipe.model_options.model_fields:
                chosen.setdefault(name, k)
        if rate != 1.0:
            chosen["lr"] = rate * recipe.parse(chosen)[1].lr
        self.gate, self.data, self.total, self.done = Gate(), data, steps, 0
        self.thread = threading.Thread(target=self._fit, args=(recipe.name, chosen), daemon=True)
        self.thread.start()

    def _fit(self, recipe: str, options: dict[str, Any]) -> None:
        try:
            isthmus.fit(recipe, self.data, callbacks=[self.gate], progress=False, **options)
        except _Stopped:
            pass
        except BaseException as problem:
            self.gate.answers.put(problem)

    def run(self, steps: int) -> float:
        """Seconds of the next ``steps`` steps; after the last one the model is the final one."""
        seconds = self.gate.run(steps)
        self.done += steps
        if self.done == self.total:
            self.thread.join()
        return seconds

    def stop(self) -> None:
        """End the run."""
        if self.thread.is_alive():
            self.gate.orders.put(0)
            self.thread.join()

    def _at(self, what: Any) -> Any:
        """``what(model)`` with the weights that the run would return if it ended here."""
        trainer = self.gate.trainer
        assert trainer is not None
        if self.done == self.total:
            return what(trainer.model)
        training = trainer.model.training
        with trainer.stepper.averaged():
            result = what(trainer.model.eval())
        trainer.model.train(training)
        return result

    def decoder(self) -> np.ndarray:
        return self._at(lambda model: model.decoder.weight.detach().clone().numpy())

    def rebuild(self, x: Tensor) -> tuple[Tensor, float]:
        def rebuilt(model: isthmus.Autoencoder) -> tuple[Tensor, float]:
            with torch.no_grad():
                active = (model.encode(x) != 0).sum(1).float().mean()
                return model.reconstruct(x), float(active)

        return self._at(rebuilt)
