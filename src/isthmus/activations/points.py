"""Points of a model: module paths with wildcards, and which side of a module is meant."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn

from isthmus.errors import IsthmusError

Side = Literal["output", "input"]

GRADIENT = "gradient"
"""The part of a point, ``layers.1:gradient``, that is the loss's gradient there."""


@dataclass(frozen=True)
class Point:
    """One place of a model: what goes into or comes out of one of its modules.

    ``name`` is the module's path (``.`` for the model itself), with ``:in`` behind it where the
    input is meant, and the ``key`` of one of several parts where one is named: ``:hidden`` of a
    mapping or an output object, ``:1`` of a tuple, ``:past.0`` of a part of a part.
    """

    name: str
    module: nn.Module
    side: Side
    key: str | None = None

    @property
    def is_gradient(self) -> bool:
        """Whether the loss's gradient with respect to the activation is meant."""
        return is_gradient(self.name)

    @property
    def module_name(self) -> str:
        """The path without what follows it."""
        return self.name.partition(":")[0]


def is_gradient(name: str) -> bool:
    """Whether a point, or a part of data, by that name is a gradient."""
    return name.rpartition(":")[2] == GRADIENT


def resolve(model: nn.Module, at: str | Sequence[str], side: Side = "output") -> list[Point]:
    """The points that ``at`` means, in its order, and within a pattern in the model's.

    A path has as many components as its pattern, and each matches by the rules of the shell:
    ``layers.*.mlp``, ``layers.[0-3]``. A suffix ``:in`` or ``:out`` overrides ``side``, any
    other names a part of what the module takes or gives (``encoder:hidden``, ``lstm:1``,
    ``mlp:in:mask``); ``.`` is the model itself. A path that the model does not have is an
    :class:`IsthmusError` that offers the nearest ones.
    """
    patterns = [at] if isinstance(at, str) else list(at)
    if not patterns:
        raise IsthmusError("no point of the model was named: pass a module's path, as in layers.*")
    if side not in ("output", "input"):
        raise IsthmusError(f"side={side!r} is neither 'output' nor 'input': choose one of them")
    # With duplicates: a module that two parents share may be called by either path.
    modules = dict(model.named_modules(remove_duplicate=False))
    points: dict[str, Point] = {}
    for pattern in patterns:
        path, which, key = _divided(pattern, side)
        names = [name for name in modules if _matches(name, path)]
        if not names:
            raise _unknown(path, modules)
        for name in names:
            point = (name or ".") + (":in" if which == "input" else "")
            point += "" if key is None else f":{key}"
            points.setdefault(point, Point(point, modules[name], which, key))
    return list(points.values())


def _divided(pattern: str, side: Side) -> tuple[str, Side, str | None]:
    path, *suffixes = pattern.split(":")
    if suffixes and suffixes[0] in ("in", "out"):
        side = "input" if suffixes.pop(0) == "in" else "output"
    if len(suffixes) > 1 or "" in suffixes:
        raise IsthmusError(
            f"the point {pattern!r} names more than a module, a side and a part: write it as "
            "path, path:in, path:key or path:in:key"
        )
    return path, side, suffixes[0] if suffixes else None


def _matches(name: str, pattern: str) -> bool:
    parts, globs = name.split("."), pattern.split(".")
    if not name or pattern in ("", "."):  # a star does not mean the model itself
        return not name and pattern in ("", ".")
    return len(parts) == len(globs) and all(map(fnmatchcase, parts, globs))


def _unknown(path: str, names: Iterable[str]) -> IsthmusError:
    """The error for a path that no module has, with the nearest ones.

    Numbered modules are offered once, as ``layers.*.mlp``, for a large model has hundreds.
    """
    exact = [name for name in names if name]
    patterns = list(dict.fromkeys(re.sub(r"(?<![^.])\d+(?![^.])", "*", n) for n in exact))
    candidates = patterns if "*" in path else [*exact, *patterns]
    near = list(dict.fromkeys(get_close_matches(path, candidates, n=3, cutoff=0.5)))
    hint = "did you mean " if near else "it has "
    examples = near or patterns[:8]
    more = ", ..." if not near and len(patterns) > len(examples) else ""
    listed = " or ".join(map(repr, examples)) if near else ", ".join(map(repr, examples)) + more
    if not examples:
        hint, listed = "it has ", "no modules inside: name '.' for the model itself"
    return IsthmusError(f"the model has no module {path!r}: {hint}{listed}")
