"""Models that are no language models, by name: of transformers, or of one's own."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from isthmus.activations.image_processor import open_processor, remember
from isthmus.errors import IsthmusError, MissingExtra
from isthmus.language.devices import device_named, dtype_name, dtype_named, dtype_of
from isthmus.language.own_code import made_by
from isthmus.notices import say


def open_module(spec: str, *, dtype: Any = None, device: Any = None) -> nn.Module:
    """The module that a name stands for, in evaluation mode.

    - ``package.module:factory``: an ``nn.Module``, or a function without arguments that returns one
    - a folder, or a name on the Hugging Face hub: any model of ``transformers`` without its head
      (needs ``isthmus[lm]``), and with it the image processor of a vision model, through which
      byte images go

    ``dtype`` and ``device`` are as in :func:`isthmus.language.open_model`: models of
    ``transformers`` come in float32 unless told otherwise, one's own as they are made.

    Raises :class:`IsthmusError` where there is no such model.
    """
    precision = None if dtype is None else dtype_named(dtype)
    where = None if device is None else device_named(device)
    place = Path(spec).expanduser()
    if ":" in spec and not place.exists():
        custom = _made(spec)
        return custom.to(device=where, dtype=precision)
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "lm", f"the model {spec!r}") from error
    name = str(place.absolute()) if place.is_dir() else spec
    try:
        model = transformers.AutoModel.from_pretrained(name, dtype="auto")
    except Exception as error:  # transformers raises many kinds; each means that it did not open
        first = str(error).strip().split("\n")[0]
        raise IsthmusError(
            f"there is no model {spec!r} that transformers can open ({first}): give a folder, a "
            "name on the hub, or 'package.module:factory'"
        ) from error
    if dtype is None:
        stored, precision = dtype_of(model), torch.float32
        if stored != precision:
            say(
                f"{spec} is stored in {dtype_name(stored)} and computed in float32 "
                f"(host dtype=auto computes in {dtype_name(stored)})"
            )
    module: nn.Module = model.to(device=where, dtype=precision).eval().requires_grad_(False)
    remember(module, open_processor(name, module))
    return module


def _made(spec: str) -> nn.Module:
    module = made_by(spec)
    if not isinstance(module, nn.Module):
        raise IsthmusError(
            f"{spec!r} gives a {type(module).__name__} and no nn.Module: return a module"
        )
    return module.eval()
