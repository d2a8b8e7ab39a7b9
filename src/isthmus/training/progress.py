"""A progress bar that costs next to nothing: drawn a few times a second, on a terminal only."""

import sys
import time
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Show = bool | Literal["auto"]
_PERIOD = 0.25
_LINE_PERIOD = 15.0


class ProgressBar:
    """Shows steps done, rate, time left and the latest losses.

    On a terminal a bar; elsewhere a line every quarter of a minute. ``show="auto"`` means only on
    a terminal.
    """

    def __init__(self, title: str, total: int, unit: str, show: Show, done: int = 0) -> None:
        terminal = sys.stderr.isatty()
        self.title, self.total, self.unit, self.first = title, total, unit, done
        self.bar: Progress | None = None
        self.lines = show is True and not terminal
        self.began = self.drawn = time.monotonic()
        if terminal and show:
            self.bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
                auto_refresh=False,
                transient=False,
            )
            self.task = self.bar.add_task(title, total=total, completed=done, rate="", note="")

    def __enter__(self) -> "ProgressBar":
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    @property
    def due(self) -> bool:
        """Whether it is time to draw again: ask before computing what to show."""
        if self.bar is None and not self.lines:
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
        now = time.monotonic()
        self.drawn = now
        self.total = total or self.total
        rate = units / max(1e-9, now - self.began)
        text = f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{60 * rate:,.1f} {self.unit}/min"
        if self.bar is not None:
            self.bar.update(
                self.task,
                completed=done,
                total=self.total,
                rate=text,
                note=note,
                description=title or self.title,
                refresh=True,
            )
        elif self.lines:
            gone = max(1, done - self.first)
            left = (now - self.began) / gone * (self.total - done)
            place = f"{title or self.title}: {done}/{self.total}"
            print(f"{place} · {text} · {left:,.0f} s left · {note}", file=sys.stderr, flush=True)
