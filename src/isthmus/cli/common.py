"""What commands share: their arguments, how options are read, how a run is interrupted."""

import ast
import contextlib
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from isthmus.cli import completion
from isthmus.errors import IsthmusError

# highlight off: colouring numbers in prose helps nobody.
out = Console(highlight=False)
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

Options = Annotated[
    list[str] | None,
    typer.Argument(metavar="option=value", show_default=False, autocompletion=completion.options),
]
Data = Annotated[
    str,
    typer.Argument(help="a name, a file or a folder", autocompletion=completion.data),
]
MaybeData = Annotated[
    str | None,
    typer.Argument(
        help="a name, a file or a folder", show_default=False, autocompletion=completion.data
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--given", metavar="NAME=COLUMN", help="give a column of the data to the model as NAME"
    ),
]


def on_disk(path: Path | None) -> Path | None:
    """A place that has to be a folder of this machine: ``Path`` makes ``s3:/`` of ``s3://``."""
    if path is not None and _REMOTE.match(str(path)) and not path.exists():
        raise IsthmusError(
            f"{str(path).replace(':/', '://', 1)} is in object storage, where runs are fitted, "
            "gone on with and loaded in Python, and nothing else is: name a folder"
        )
    return path


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="the folder of a run", callback=on_disk)
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="no progress")]

PLACES = {
    "callbacks": "they are passed in Python",
    "X": "name the data after the recipe",
    "out": "the folder is said by -o",
    "overwrite": "write --overwrite on the command line",
    "progress": "write --quiet on the command line",
}
"""Where the command line says what functions take as an argument of their own."""
MOST_DIGITS = 8
"""Digits that no number of a latent has."""


def parse_options(pairs: list[str] | None) -> dict[str, Any]:
    """``["k=16", "hidden=512,256"]`` as values; anything TOML reads, lists without brackets too."""
    parsed: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise IsthmusError(f"{pair!r} is no option: write NAME=VALUE, without spaces")
        parsed[name.replace("-", "_")] = parse_value(text)
    return parsed


def parse_value(text: str) -> Any:
    """One option value: ``none``, a number, a truth value, a list, or else the text itself.

    Names and values in braces may be written as in Python, as sentences write them.
    """
    if text.lower() == "none":
        return None
    if text == "()":
        return ()
    for attempt in (text, f"[{text}]") if "," in text else (text,):
        try:
            return tomllib.loads(f"v = {attempt}")["v"]
        except tomllib.TOMLDecodeError:
            continue
    if text.startswith("{"):
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval(text)
    return text


def parse_given(pairs: list[str] | None) -> dict[str, str]:
    """``["label=kind"]`` as names and columns."""
    columns = {}
    for pair in pairs or []:
        name, equals, column = pair.partition("=")
        if not equals or not name or not column:
            raise IsthmusError(f"--given {pair!r} names no column: write NAME=COLUMN")
        columns[name] = column
    return columns


def settled(
    settings: Mapping[str, Any], pairs: list[str], given: list[str] | None
) -> dict[str, Any]:
    """The options of a run: those of its .toml file, NAME=VALUE over them, what is given."""
    options = {**settings, **parse_options(pairs)}
    for name in ("data", "output"):
        options.pop(name, None)
    for name, place in PLACES.items():
        if name in options:
            raise IsthmusError(f"{name} is no option of a run: {place}")
    columns = options.get("given", {})
    if not isinstance(columns, Mapping):
        raise IsthmusError(f"given = {columns!r} names no column: write given.NAME = COLUMN")
    options["given"] = {**columns, **parse_given(given)}
    return options


def parse_numbers(text: str) -> list[int]:
    """``0-2,7`` is 0, 1, 2, 7."""
    numbers: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        high = high if dash else low
        if not all(end.isdecimal() and len(end) < MOST_DIGITS for end in (low, high)):
            raise IsthmusError(f"{text!r} is no list of latents: write numbers such as 0-99,512")
        numbers += range(int(low), int(high) + 1)
    return numbers


def read_toml(path: Path, remedy: str = "name a recipe or a .toml file") -> dict[str, Any]:
    """The settings in a .toml file, its table ``options`` among them; "none" is None."""
    try:
        settings = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise IsthmusError(f"{path} does not exist: {remedy}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise IsthmusError(f"{path} is no readable TOML: {problem}") from None
    options = settings.pop("options", {})
    if not isinstance(options, dict):
        raise IsthmusError(f"options of {path} are no table: write [options] above them")
    return without_none({**settings, **options})


def without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a .toml file, which has no None, with one for each "none"."""
    return {name: None if value == "none" else value for name, value in table.items()}


def taken(settings: dict[str, Any], name: str, where: str) -> str:
    """A setting that a .toml file must have, taken out."""
    if name not in settings:
        raise IsthmusError(f'{where} does not say {name}: add {name} = "..."')
    return str(settings.pop(name))


def figures(record: Mapping[str, Any]) -> str:
    """The numbers of one record of a run's log, in a line."""
    return "  ".join(f"{k} {v:.5g}" for k, v in record.items() if isinstance(v, float))


def check_ending(output: Path, endings: tuple[str, ...], what: str) -> None:
    """An error for a file to be written whose form nobody writes."""
    if output.suffix not in endings:
        raise IsthmusError(
            f"{output} should end in {', '.join(endings[:-1])} or {endings[-1]}: {what} are "
            "written in these forms"
        )


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends a run with what to do next; the command line library would end it silently."""
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"\nisthmus: {str(stop) or 'stopped'}", file=sys.stderr)
        raise typer.Exit(130) from None
