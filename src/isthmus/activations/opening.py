"""Models that are no language models, by name: of transformers, or of one's own."""

import importlib
import sys
from pathlib import Path
from typing import Any

from torch import nn

from isthmus.errors import IsthmusError, MissingExtra


def open_module(spec: str) -> nn.Module:
    """The module that a name stands for, in evaluation mode and float32.

    - ``package.module:factory``: an ``nn.Module``, or a function without arguments that returns one
    - a folder, or a name on the Hugging Face hub: any model of ``transformers`` without its head
      (needs ``isthmus[lm]``)

    Raises :class:`IsthmusError` where there is no such model.
    """
    place = Path(spec).expanduser()
    if ":" in spec and not place.exists():
        return _made(spec)
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "lm", f"the model {spec!r}") from error
    try:
        model = transformers.AutoModel.from_pretrained(str(place) if place.is_dir() else spec)
    except Exception as error:  # transformers raises many kinds; each means that it did not open
        first = str(error).strip().split("\n")[0]
        raise IsthmusError(
            f"there is no model {spec!r} that transformers can open ({first}): give a folder, a "
            "name on the hub, or 'package.module:factory'"
        ) from error
    module: nn.Module = model.float().eval().requires_grad_(False)
    return module


def _made(spec: str) -> nn.Module:
    name, _, path = spec.rpartition(":")
    here = str(Path.cwd())
    added = here not in sys.path  # console scripts do not look in the current folder
    if added:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, ValueError, AttributeError) as error:
        raise IsthmusError(
            f"{spec!r} cannot be imported ({error}): write it as 'package.module:factory', and "
            "run where Python finds the package"
        ) from error
    finally:
        if added:
            sys.path.remove(here)
    is_factory = callable(found) and not isinstance(found, nn.Module)
    made = found() if is_factory else found
    if not isinstance(made, nn.Module):
        raise IsthmusError(
            f"{spec!r} gives a {type(made).__name__} and no nn.Module: return a module"
        )
    return made.eval()
