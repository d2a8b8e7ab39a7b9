"""A progress bar that costs next to nothing: what is done and what is left, first and in one line.

On a terminal and in a notebook one line is written over and over, a few times a second; in a log a
line now and then. What is left is told from the rate of the last half minute, so that a slow start
is soon forgotten.
"""

import os
import sys
import time
from collections import deque
from types import TracebackType
from typing import Any, Literal, TextIO

Show = bool | Literal["auto"]
_PERIOD = 0.25
_LINE_PERIOD = 15.0
_WINDOW = 30.0
"""Seconds over which the rate is taken."""
_TITLE = 20


class ProgressBar:
    """Shows steps done, time left, rate and the latest losses, in this order.

    On a terminal or in a notebook a line that is replaced; elsewhere a line every quarter of a
    minute. ``show="auto"`` means only on a terminal or in a notebook. A line is cut to the width of
    the terminal, so that what comes first is always there.
    """

    def __init__(self, title: str, total: int, unit: str, show: Show, done: int = 0) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.notebook = in_notebook()
        terminal = self._is_terminal()
        self.over = bool(show) and (terminal or self.notebook)
        self.lines = show is True and not self.over
        self.began = self.drawn = time.monotonic()
        self._seen: deque[tuple[float, int, float]] = deque([(self.began, done, 0.0)])
        self._length = 0

    def _is_terminal(self) -> bool:
        return bool(sys.stderr is not None and sys.stderr.isatty())

    @property
    def stream(self) -> TextIO:
        """Where it is shown: a notebook colours what comes on stderr as an error."""
        return sys.stdout if self.notebook else sys.stderr

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._length:
            print(file=self.stream, flush=True)
            self._length = 0

    @property
    def due(self) -> bool:
        """Whether it is time to draw again: ask before computing what to show."""
        if not self.over and not self.lines:
            return False
        period = _LINE_PERIOD if self.lines else _PERIOD
        return time.monotonic() - self.drawn >= period

    def draw(
        self,
        done: int,
        units: float,
        note: str,
        title: str | None = None,
        total: int | None = None,
    ) -> None:
        """Show ``done`` steps, ``units`` (rows, say) processed since the start, and a note.

        ``total`` is the new number of steps, where it has changed.
        """
        if not self.over and not self.lines:
            return
        self.drawn = now = time.monotonic()
        self.total = total or self.total
        self._see(now, done, units)
        line = self._line(now, done, title or self.title, note)
        if self.lines:
            print(line, file=self.stream, flush=True)
            return
        line = line[: max(20, self._width() - 1)]
        print("\r" + line.ljust(self._length), end="", file=self.stream, flush=True)
        self._length = len(line)

    def _see(self, now: float, done: int, units: float) -> None:
        """Keep what was seen in the window, and at least one look before this one."""
        self._seen.append((now, done, units))
        while len(self._seen) > 2 and (
            now - self._seen[1][0] > _WINDOW
            # The first stretch has what is done once: files opened, kernels chosen.
            or (self._seen[0][0] == self.began and now - self._seen[1][0] >= 4 * _PERIOD)
        ):
            self._seen.popleft()

    def _line(self, now: float, done: int, title: str, note: str) -> str:
        then, before, units_before = self._seen[0]
        _, _, units = self._seen[-1]
        gone = max(1e-9, now - then)
        rate = (units - units_before) / gone
        speed = f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{60 * rate:,.1f} {self.unit}/min"
        parts = [_short(title), f"{done:,}/{self.total:,}"]
        if done < self.total:
            left = (self.total - done) * gone / (done - before) if done > before else None
            parts.append("? left" if left is None else f"{clock(left)} left")
        else:
            parts.append(f"in {clock(now - self.began)}")
        return "  ".join([*parts, speed, *([note] if note else [])])

    def _width(self) -> int:
        if self.notebook:
            return 100
        try:
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except (OSError, ValueError, AttributeError):
            return int(os.environ.get("COLUMNS", "80")) if _is_number("COLUMNS") else 80


def clock(seconds: float) -> str:
    """``0:09``, ``4:32``, ``1:02:03`` or ``2 d 3 h``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_notebook() -> bool:
    """Whether the process is the kernel of a notebook."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def _short(title: str) -> str:
    return title if len(title) <= _TITLE else title[: _TITLE - 1] + "…"


def _is_number(name: str) -> bool:
    return os.environ.get(name, "").isdigit()
