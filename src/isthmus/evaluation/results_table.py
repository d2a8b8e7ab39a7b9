"""Results as a table, for the terminal and for logs."""

import io
from collections.abc import Mapping

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.evaluation.result import Result


def as_table(results: Mapping[str, Result], title: str | None = None) -> Table:
    """A rich table: measure, direction (↑ higher is better, ↓ lower), value, interval, n, unit."""
    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("measure", no_wrap=True)
    grid.add_column("")
    grid.add_column("value", justify="right", no_wrap=True)
    grid.add_column("95 % interval", no_wrap=True)
    grid.add_column("n", justify="right", no_wrap=True)
    grid.add_column("unit")
    for name, result in results.items():
        cells = [
            name,
            result.arrow,
            f"{result.value:.4g}",
            interval_text(result),
            f"{result.n}",
            result.unit,
        ]
        # Text, because rich would read the brackets of an interval as markup.
        grid.add_row(*map(Text, cells))
    return grid


def with_estimators(results: Mapping[str, Result], title: str | None = None) -> RenderableType:
    """The table, and under it how each value was estimated, with its note."""
    lines = [
        Text.assemble((name, "bold"), ": ", result.estimator, *_note(result))
        for name, result in results.items()
    ]
    return Group(as_table(results, title), *(Padding(line, (0, 2)) for line in lines))


def render(results: Mapping[str, Result], title: str | None = None, *, width: int = 120) -> str:
    """The same as plain text without colour, ``width`` characters wide at most."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, force_terminal=False)
    console.print(with_estimators(results, title))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip("\n") + "\n"


def interval_text(result: Result) -> str:
    """``[low, high]``, or nothing where there is no interval."""
    if result.interval is None:
        return ""
    low, high = result.interval
    return f"[{low:.4g}, {high:.4g}]"


def _note(result: Result) -> list[str | tuple[str, str]]:
    return ["; note: ", (result.note, "italic")] if result.note else []
