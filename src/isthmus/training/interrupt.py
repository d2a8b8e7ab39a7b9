"""Ctrl-C: the step is ended and the run saved; a second one stops at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The run was stopped by Ctrl-C after saving; the message says how to go on."""


class CtrlC:
    """While entered, the first Ctrl-C only sets ``pressed``.

    Outside the main thread, which alone may handle signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._ours = threading.current_thread() is threading.main_thread()
        self._earlier: Any = None

    def __enter__(self) -> "CtrlC":
        if self._ours:
            self._earlier = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, self._earlier)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, self._earlier)
