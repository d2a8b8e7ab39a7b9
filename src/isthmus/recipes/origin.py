"""Where a recipe comes from: importable names, entry points and distributions."""

import importlib
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache, reduce
from importlib import metadata
from typing import Any

from isthmus.errors import IsthmusError

GROUP = "isthmus.recipes"
"""The entry points by which packages offer recipes: each names a module or a function."""


def imported(name: str) -> Any:
    """What ``package.module:function`` names.

    Raises :class:`IsthmusError` for a name of another form, or that cannot be imported.
    """
    module, _, path = name.partition(":")
    form = "write it as 'package.module:function'"
    if not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        raise IsthmusError(f"{name!r} names no function: {form}")
    try:
        imported_module: Any = importlib.import_module(module)
    except Exception as problem:  # whatever that module does when it is imported
        raise IsthmusError(
            f"{name!r} cannot be imported ({reason(problem)}): install the package that has it, "
            "or run where Python finds it"
        ) from problem
    try:
        return attribute(imported_module, path)
    except AttributeError:
        near = get_close_matches(path, [*vars(imported_module)], n=1)
        hint = f"did you mean {near[0]!r}?" if near else form
        raise IsthmusError(f"the module {module!r} has no {path!r}: {hint}") from None


def attribute(found: Any, path: str) -> Any:
    """An attribute of an attribute, ``Class.method``."""
    return reduce(getattr, path.split("."), found)


def reason(problem: BaseException) -> str:
    """The first line of an exception, with its kind."""
    first = str(problem).strip().split("\n")[0]
    kind = type(problem).__name__
    return f"{kind}: {first}" if first else kind


def entry_points() -> list[metadata.EntryPoint]:
    """Those of :data:`GROUP`, in an order that does not depend on the file system."""
    return sorted(
        metadata.entry_points(group=GROUP), key=lambda p: (p.name, p.value, package_of(p))
    )


def package_of(point: metadata.EntryPoint) -> str:
    """The distribution that an entry point belongs to, with its version."""
    return "" if point.dist is None else f"{point.dist.name} {point.dist.version}"


@cache
def distribution(module: str) -> tuple[str, str] | None:
    """Name and version of the distribution that a module belongs to, where that is known."""
    top = module.partition(".")[0]
    for point in entry_points():
        if point.module.partition(".")[0] == top and point.dist is not None:
            return point.dist.name, point.dist.version
    return next(_holding(top), None)


def _holding(top: str) -> Iterator[tuple[str, str]]:
    for name in metadata.packages_distributions().get(top, []):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
