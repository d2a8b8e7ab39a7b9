"""Draws from the global generators as a function of a seed alone, whoever else draws.

Parts draw from torch's global generator, as ``nn.Dropout`` does, and there is one for all threads.
:class:`drawing` seeds it for a while, keeps every other thread that does the same waiting, and puts
back the state that it found: fits in several threads have the bits that they have alone, and the
user's own draws go on as if nothing had been between them. (What the user draws in another thread
at that very moment nobody can keep apart.)
"""

import os
import time
from numbers import Integral
from threading import RLock
from types import TracebackType
from typing import Any

import torch

from isthmus.errors import IsthmusError


def checked_seed(seed: Any) -> int:
    """A seed as a whole number; anything else is an error."""
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise IsthmusError(f"seed={seed} is no seed: pass a whole number")
    number = int(seed)
    if not -(1 << 63) <= number < 1 << 64:
        raise IsthmusError(f"seed is {number}, which is too large: pass one below 2**64")
    return number


_alone = RLock()
_waiting = 0


class drawing:
    """Within, this thread alone draws from the generators of the CPU and of ``device``.

    They are seeded by ``seed``, and their earlier state comes back at the end. Blocks may stand in
    one another, of one thread.
    """

    __slots__ = ("_before", "_device", "_seed")

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device, self._seed = device, checked_seed(seed)

    def __enter__(self) -> None:
        global _waiting
        if not _alone.acquire(blocking=False):
            _waiting += 1
            try:
                _alone.acquire()
            finally:
                _waiting -= 1
        try:
            self._before = [
                (generator, generator.get_state()) for generator in _generators(self._device)
            ]
            for generator, _ in self._before:
                generator.manual_seed(self._seed)
        except BaseException:
            _alone.release()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for generator, state in self._before:
                generator.set_state(state)
        finally:
            _alone.release()
            if _waiting > 0:  # a lock is not fair: whoever waits gets a turn
                time.sleep(0)


class _MPS:
    """The generator of Apple's accelerators, which torch offers as functions."""

    def get_state(self) -> torch.Tensor:
        return torch.mps.get_rng_state()

    def set_state(self, state: torch.Tensor) -> None:
        torch.mps.set_rng_state(state)

    def manual_seed(self, seed: int) -> None:
        torch.mps.manual_seed(seed)


def _generators(device: torch.device) -> tuple[torch.Generator | _MPS, ...]:
    """The global generators that work on ``device`` draws from."""
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.default_generator, torch.cuda.default_generators[index]
    if device.type == "mps":
        return torch.default_generator, _MPS()
    return (torch.default_generator,)


def _afresh() -> None:
    """In a forked process the thread that held the lock does not exist."""
    global _alone, _waiting
    _alone, _waiting = RLock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_afresh)
