"""Objects of the user's own code, by ``package.module:name``."""

import importlib
import sys
from pathlib import Path
from typing import Any

from torch import nn

from isthmus.errors import IsthmusError


def made_by(spec: str) -> Any:
    """What ``package.module:name`` means: an object, or what a function without arguments returns.

    Modules are looked for in the current folder too. Raises :class:`IsthmusError` where it cannot
    be imported, has no such name, or fails when it is called.
    """
    module, _, path = spec.rpartition(":")
    thing: Any = _imported(module, spec)
    try:
        for name in path.split("."):
            thing = getattr(thing, name)
    except AttributeError as error:
        raise IsthmusError(f"{module!r} has no {path!r}: check the name after the colon") from error
    if not callable(thing) or isinstance(thing, nn.Module):
        return thing
    try:
        return thing()
    except IsthmusError:
        raise
    except Exception as error:  # of code that is not ours
        first_line = str(error).strip().partition("\n")[0]
        raise IsthmusError(
            f"{spec!r} fails when it is called ({type(error).__name__}: {first_line}): mend it, or "
            "run where it finds its files"
        ) from error


def _imported(module: str, spec: str) -> Any:
    folder = str(Path.cwd())
    added = folder not in sys.path  # console scripts do not look in the current folder
    if added:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise IsthmusError(
            f"{spec!r} cannot be imported ({error}): write it as 'package.module:factory', and "
            "run where Python finds the package"
        ) from error
    finally:
        if added:
            sys.path.remove(folder)
