"""What ``isthmus data`` prints: the sets there are, and where each one is."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isthmus.data import bundled, catalogue, fetching, public, registry
from isthmus.data.layouts import Channels, Other
from isthmus.data.manifest import Entry
from isthmus.errors import unknown

SHORT = 29
"""Letters of a licence in the list, whose lines fit a terminal then; ``show`` has it whole."""


def fetched(names: list[str], to: Path | None = None) -> list[Path]:
    """The files of public sets, fetched with a bar; no set where one of the names is wrong."""
    for name in names:
        fetching.wanted(name)
    with _bar() as bar:
        return [path for name in names for path in fetching.fetch(name, to, progress=bar)]


def rows() -> list[tuple[str, str, str, str]]:
    """Name, place, size and licence of every set.

    The place is "always" here, the "folder" of ISTHMUS_DATA, "fetched", "to fetch", "not here"
    (it cannot be fetched), or "missing" where a manifest lists a file that is gone.
    """
    entries, sets = catalogue.entries(), public.sets()
    builtin = [(name, "always", "", "") for name in bundled.BUNDLED]
    others = []
    for name in {**sets, **entries}:
        one = sets.get(name)
        if name in entries:
            place, licence = _place(name), entries[name].licence
        else:
            assert one is not None
            place, licence = ("to fetch" if one.can_be_fetched else "not here"), one.licence
        short = licence if len(licence) <= SHORT else licence[: SHORT - 3] + "..."
        others.append((name, place, "" if one is None else readable_size(one.size), short))
    return sorted([*builtin, *others], key=lambda row: row[0].lower())


def table() -> Any:
    """All sets as a table of rich."""
    from rich.markup import escape
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "where", "size", "licence"):
        side: Any = "right" if column == "size" else "left"
        grid.add_column(column, no_wrap=True, justify=side)
    for row in rows():
        grid.add_row(*map(escape, row))
    return grid


def shown(name: str) -> str:
    """Everything about one set, a line each."""
    one, entry = public.found(name), _here(name)
    if entry is not None and (one is None or one.name != entry.name):
        lines = {"what": entry.description, "licence": entry.licence, "cite": entry.citation,
                 "where": _where(entry.name)}  # fmt: skip
        return _lines(entry.name, lines)
    if one is None:
        if public.key(name) in map(public.key, bundled.BUNDLED):
            dataset = registry.load(name)
            return _lines(
                dataset.name,
                {"what": dataset.description, "licence": dataset.licence,
                 "cite": dataset.citation, "where": "always here"},
            )  # fmt: skip
        raise unknown("data set", name, [*public.sets(), *catalogue.entries(), *bundled.BUNDLED])
    return _lines(one.name, {
        "what": f"{one.title}: {one.what}", "rows": one.rows, "read as": _read_as(one),
        "size": readable_size(one.size), "licence": one.licence, "cite": one.citation,
        "source": one.source, "where": _where(one.name), "originals": _originals(one),
    })  # fmt: skip


def _here(name: str) -> Entry | None:
    entries = {public.key(n): entry for n, entry in catalogue.entries().items()}
    return entries.get(public.key(name))


def _place(name: str) -> str:
    path = catalogue.entries()[name].path
    if not path.is_file():
        return "missing"
    return "fetched" if catalogue.cache_folder() in path.parents else "folder"


def _where(name: str) -> str:
    entry, one = catalogue.entries().get(name), public.sets().get(name)
    if entry is not None:
        return str(entry.path)
    assert one is not None
    if not one.can_be_fetched:
        return f"not here, and cannot be fetched: {one.why}"
    size = f", {readable_size(one.download)} to download" if one.download else ""
    return f"not here: isthmus data fetch {one.name}{size}"


def _originals(one: public.PublicSet) -> str:
    if not one.can_be_fetched:
        return ""
    unstated = sum(checksum is None for checksum in one.originals.values())
    text = f"{one.at} ({', '.join([*one.originals][:4])}{', ...' if len(one.originals) > 4 else ''}"
    return text + (f"; checksum of {unstated} not stated)" if unstated else ")")


def _read_as(one: public.PublicSet) -> str:
    how = one.layout
    if isinstance(how, Other):
        return how.holds
    return "rows of a channel" if isinstance(how, Channels) else "rows"


def _lines(name: str, about: dict[str, str]) -> str:
    from rich.markup import escape

    return "\n".join(
        [f"[bold]{escape(name)}[/bold]", *(f"{k}: {escape(v)}" for k, v in about.items() if v)]
    )


def readable_size(of: int) -> str:
    """So many bytes, in kB or MB."""
    return f"{of / 1e6:.1f} MB" if of >= 1e5 else f"{of / 1e3:.0f} kB"


@contextlib.contextmanager
def _bar() -> Iterator[Any]:
    """A bar of rich in the form that pooch asks for; none where the output is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress(
        BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console
    ) as progress:
        yield _Bar(progress)


class _Bar:
    """The methods that pooch calls: ``total`` is set, then ``update``, ``reset``, ``close``."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown
        self._task = shown.add_task("", total=None)

    @property
    def total(self) -> float:
        """Bytes of the file."""
        return float(self._shown.tasks[0].total or 0)

    @total.setter
    def total(self, of: float) -> None:
        self._shown.reset(self._task, total=of)

    def update(self, step: float) -> None:
        """So many more bytes came."""
        self._shown.advance(self._task, step)

    def reset(self) -> None:
        """A new file begins."""
        self._shown.reset(self._task)

    def close(self) -> None:
        """The file is there."""
