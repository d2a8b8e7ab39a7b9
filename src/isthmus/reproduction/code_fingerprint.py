"""Which code an experiment depends on, as one hash: results are out of date once it changes."""

import ast
import hashlib
import inspect
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from isthmus.recipes import get_recipe
from isthmus.studies import Study

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "kernels" / "native"

TEXTS = {
    "study": {"paper", "statement", "headline", "setting"},
    "recipe": {"paper", "formula", "claim"},
}
"""Keywords of the two decorators that are for readers alone."""


def fingerprint(study: Study) -> str:
    """SHA-256 over the study's page, its recipes' pages, and all of the library they import.

    Comments, docstrings, layout and the pages' texts do not count; rules do: a threshold that is
    moved after the fact puts the results out of date. What is imported by name at run time only
    (recipes) has to be declared by the study.
    """
    begin = [_file_of(study.experiment)]
    begin += [_file_of(get_recipe(name).build_function) for name in study.recipes]
    digest = hashlib.sha256()
    for path in sorted(_closure(begin)):
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(_meaning(path))
    return digest.hexdigest()[:20]


def _file_of(function: object) -> Path:
    return Path(inspect.getfile(function)).resolve()  # type: ignore[arg-type]


def _closure(begin: Iterable[Path]) -> set[Path]:
    found: set[Path] = set()
    waiting = list(begin)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(path)
    if any(path.parent == ROOT / "kernels" for path in found):
        found |= {*NATIVE.glob("*.c"), *NATIVE.glob("*.h")}
    return found


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    if not path.is_relative_to(ROOT):
        return ()
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found += [file for name in names for file in _module(name)]
    return tuple(found)


def _module(name: str) -> list[Path]:
    head, *rest = name.split(".")
    if head != "isthmus" or not rest:
        return []
    place = ROOT.joinpath(*rest)
    return [p for p in (place.with_suffix(".py"), place / "__init__.py") if p.exists()]


@cache
def _meaning(path: Path) -> bytes:
    if path.suffix != ".py":
        return path.read_bytes()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts = TEXTS.get(node.func.id, set())
            node.keywords = [word for word in node.keywords if word.arg not in texts]
    return ast.dump(tree).encode()


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
