"""A run made longer than it was planned: whether its first steps would have been the same.

A run of 50 steps that is made one of 200 ends with the bits of a run of 200 where nothing in its
first 50 steps depended on the length. A learning rate or a weight that did (any schedule over the
whole run) is an error, since what is gone by cannot be mended; a part that reads the length (a
window that is a share of the run) goes on as in the longer run, and that is said.
"""

import copy
from typing import Any

from isthmus import notices
from isthmus.anatomy import Clock, Constant
from isthmus.errors import IsthmusError
from isthmus.training.optimisers import learning_rate
from isthmus.training.run import Run
from isthmus.training.stepper import Stepper

PROBES = 2000
"""Steps at which schedules are compared, spread over those that are done."""


class _Watched(Clock):
    """A clock that notes whether anybody asked it for the length of the run."""

    def __getattribute__(self, name: str) -> Any:
        if name == "total":  # the share that is done asks for it, too
            object.__getattribute__(self, "__dict__")["asked"] = True
        return super().__getattribute__(name)


def check_longer(run: Run, before: int, done: int, where: str) -> None:
    """An error where ``run``, restored at step ``done`` of ``before``, cannot be made longer.

    ``run`` has its new length already.
    """
    if run.total < before or run.total <= done:
        raise IsthmusError(
            f"{where} has done {done} of {before} steps, and {run.total} are no more: ask for more "
            "steps"
        )
    if run.total == before:
        return
    what = None
    if run.model.stages:
        what = "its stages share the steps"
    elif _rate_differs(run, before, done):
        how = f"lr_schedule={run.options.lr_schedule}, warmup={run.options.warmup}"
        what = f"its learning rate follows the length of the run ({how})"
    else:
        names = _weights_that_differ(run, before, done)
        if names:
            what = f"the weight of {' and '.join(names)} follows the length of the run"
    if what is not None:
        raise IsthmusError(
            f"{where} cannot be made longer, since {what}, and {run.total} steps would have begun "
            f"otherwise: fit the same recipe with start={where} to train on from its weights"
        )
    if _asks_for_length(run, done):
        notices.say(
            f"{where} goes on as a run of {run.total} steps: what its parts set by the length of "
            f"the run was set for {before} until step {done} (fit anew with steps={run.total} for "
            "a run of one length)"
        )


def _places(done: int) -> list[int]:
    every = max(1, done // PROBES)
    return sorted({*range(0, done, every), max(0, done - 1)})


def _rate_differs(run: Run, before: int, done: int) -> bool:
    old = learning_rate(run.leg.options, before)
    new = learning_rate(run.leg.options, run.total)
    return any(
        old(Clock(step, before, rows, count)) != new(Clock(step, run.total, rows, count))
        for rows, count in ((run.options.batch_size, len(run.source)),)
        for step in _places(done)
    )


def _weights_that_differ(run: Run, before: int, done: int) -> list[str]:
    size, count = run.options.batch_size, len(run.source)
    return [
        part.term.name
        for part in run.model.objective
        if any(
            float(part.weight(Clock(step, before, size, count)))
            != float(part.weight(Clock(step, run.total, size, count)))
            for step in _places(done)
        )
    ]


def _asks_for_length(run: Run, done: int) -> bool:
    """Whether a part asks for the length in a step, which is tried on a copy of the model."""
    model = copy.deepcopy(run.model)
    model.objective.weights = [Constant(1.0) for _ in model.objective.weights]

    class Watching(Stepper):
        def clock(self, step: int) -> Clock:
            clock = super().clock(step)
            clocks.append(_Watched(clock.step, clock.total, clock.rows_per_step, clock.rows))
            return clocks[-1]

    clocks: list[Clock] = []
    options = run.leg.options.model_copy(update={"compile": False})
    stepper = Watching(model, options, total=run.total, rows=len(run.source), device=run.device)
    stepper.rates = dict.fromkeys(stepper.rates, lambda clock: 0.0)
    stepper.train()
    # The first steps of a run and the latest: some parts begin late.
    with run.computing():
        for step in {0, max(0, done - 1)}:
            stepper.step(run.batches[step], step)
    stepper.release()
    return any(vars(clock).get("asked", False) for clock in clocks)
