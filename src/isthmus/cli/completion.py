"""What the shell offers when a word is begun: names of recipes, options, claims and data sets.

A shell asks at every press of a key, so that nothing of the library is imported here: names are
read off the files that declare them.
"""

import ast
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

HOME = Path(__file__).parents[1]
"""The folder of the package."""

VERBS = {"resume": ("steps", "epochs")}
"""Commands that take few options, by name."""


def recipes(incomplete: str) -> list[str]:
    """Names of recipes."""
    return _begun(incomplete, recipe_names())


def recipes_or_files(incomplete: str) -> list[str]:
    """Names of recipes, and the .toml files that may stand for one."""
    return [*recipes(incomplete), *_paths(incomplete, (".toml",))]


def recipes_by_comma(incomplete: str) -> list[str]:
    """The last of several names of recipes."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in recipes(last)]


def claims(incomplete: str) -> list[str]:
    """Names of claims."""
    # A page of several claims declares them by a function of its own.
    declared = _declared("studies", r"(?:claim|@experiment|_\w+)")
    return _begun(incomplete, sorted(declared))


def data(incomplete: str) -> list[str]:
    """Names of data sets, and files."""
    return [*_begun(incomplete, data_names()), *_paths(incomplete)]


def data_sets(incomplete: str) -> list[str]:
    """Names of data sets, also of those that are not here yet."""
    return _begun(incomplete, sorted({*data_names(), *public_names()}))


def options(context: typer.Context, incomplete: str) -> list[str]:
    """``NAME=`` for each option that the command takes, after the recipe where one is named."""
    if "=" in incomplete:
        return []
    params = context.params
    if context.info_name in VERBS:
        names: Iterable[str] = VERBS[context.info_name]
    elif context.info_name == "compare":
        names = _constant(HOME / "cli" / "compare.py", "OWN")
    elif context.info_name == "score":
        of_methods = _constant(HOME / "cli" / "score.py", "OPTIONS").values()
        names = ["method", *(name for group in of_methods for name in group)]
    elif context.info_name in ("fit", "fit-many"):
        names = recipe_options(str(params.get("recipe", "")))
    else:
        names = ()
    words = {str(word).partition("=")[0] for word in params.get("options") or ()}
    return [f"{name}=" for name in _begun(incomplete, names) if name not in words]


def recipe_names() -> list[str]:
    """This library's recipes and those that installed packages offer, sorted."""
    offered = (point.name for point in metadata.entry_points(group="isthmus.recipes"))
    return sorted({*_declared("recipes", "@recipe"), *offered})


def recipe_options(name: str) -> list[str]:
    """The options of a recipe of this library, then those of every fit."""
    arguments: list[str] = []
    place = _declared("recipes", "@recipe").get(name)
    if place is not None:
        for node in ast.walk(ast.parse(place.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and name in map(_first, node.decorator_list):
                arguments = [argument.arg for argument in node.args.kwonlyargs]
    every = [
        line.target.id
        for line in _class(HOME / "training" / "options.py", "TrainingOptions")
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    ]
    reading = _constant(HOME / "data" / "options.py", "OPTIONS")
    return [*arguments, "scaling", *every, "start", *reading]


def data_names() -> list[str]:
    """The sets that come with the library, and those in the folders of sets that are here."""
    names = set(_keys(HOME / "data" / "bundled.py", "BUNDLED"))
    for folder in filter(None, map(os.environ.get, ("ISTHMUS_DATA", "ISTHMUS_CACHE"))):
        try:
            text = (Path(folder).expanduser() / "manifest.json").read_text()
            paths = [file["path"] for item in json.loads(text) for file in item["files"]]
        except (OSError, ValueError, KeyError, TypeError):  # said by whoever loads from there
            continue
        for path in map(Path, paths):
            if path.suffixes[:1] in ([".npz"], [".csv"]):
                names.add("/".join([*path.parent.parts[1:], path.name.split(".")[0]]))
    return sorted(names)


def public_names() -> list[str]:
    """The sets whose sources are known (:mod:`isthmus.data.public`)."""
    text = (HOME / "data" / "manifest.json").read_text(encoding="utf-8")
    return [item["name"] for item in json.loads(text)]


@cache
def _declared(folder: str, call: str) -> dict[str, Path]:
    """Names given to ``call("name", ...)`` at the top of the files of a folder."""
    pattern = re.compile(rf'^{call}\(\s*"([^"]+)"', re.M)
    return {
        name: path
        for path in sorted((HOME / folder).rglob("*.py"))
        for name in pattern.findall(path.read_text(encoding="utf-8"))
    }


def _begun(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _paths(incomplete: str, endings: tuple[str, ...] = ()) -> Iterator[str]:
    """Files and folders that begin so, as the shell would list them."""
    head, _, prefix = incomplete.rpartition("/")
    folder = f"{head}/" if "/" in incomplete else ""
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        hidden = entry.name.startswith(".") and not prefix.startswith(".")
        if hidden or not entry.name.startswith(prefix):
            continue
        if entry.is_dir():
            yield f"{folder}{entry.name}/"
        elif not endings or entry.name.endswith(endings):
            yield f"{folder}{entry.name}"


def _first(decorator: ast.expr) -> str:
    """The first argument of a decorator, where it is a text."""
    if isinstance(decorator, ast.Call) and decorator.args:
        first = decorator.args[0]
        if isinstance(first, ast.Constant):
            return str(first.value)
    return ""


def _class(path: Path, name: str) -> list[ast.stmt]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)


def _value(path: Path, name: str) -> ast.expr:
    """What a name is set to at the top of a file."""
    for line in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name:
                value: ast.expr = line.value  # type: ignore[attr-defined]
                return value
    raise LookupError(f"{path.name} sets no {name}")


def _constant(path: Path, name: str) -> Any:
    return ast.literal_eval(_value(path, name))


def _keys(path: Path, name: str) -> list[str]:
    value = _value(path, name)
    assert isinstance(value, ast.Dict)
    return [str(key.value) for key in value.keys if isinstance(key, ast.Constant)]
