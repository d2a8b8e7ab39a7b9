"""Open a language model by name."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isthmus.errors import IsthmusError
from isthmus.language.devices import device_named, dtype_named
from isthmus.language.host import LanguageModel, Tokenizer, blocks
from isthmus.language.own_code import made_by
from isthmus.language.resident import RESIDENTS, resident
from isthmus.language.weight_fingerprint import fingerprint


def open_model(spec: str, *, dtype: Any = None, device: Any = None) -> LanguageModel:
    """The language model that a name stands for, in evaluation mode.

    - ``resident``, ``resident-circuits``: the two that ship in the package, the small one and the
      wider one, which was taught generated text, too (:func:`isthmus.language.resident`)
    - a folder, or a name on the Hugging Face hub: a causal or masked model of ``transformers``, or
      an encoder-decoder (needs ``isthmus[lm]``)
    - ``package.module:factory``: a function without arguments that returns a ``LanguageModel``, or
      an ``nn.Module`` with an attribute ``tokenizer`` (also looked for: ``context``, else 256;
      ``causal``, else True; ``unembedding``; ``layers``)

    ``dtype`` is what it computes in: ``float32``, which models of ``transformers`` come in whatever
    they are stored in, for activations that depend on no kernel; ``bfloat16`` or ``float16``
    (``bf16``, ``half``, ...) for half the memory; ``auto`` for the type it is stored in. A model of
    one's own stays as it is made. ``device`` is where: ``cpu``, ``cuda``, ``gpu``, ``cuda:1``,
    ``auto``; by default where it is made, the CPU for others. What is fitted to a model in a folder
    notes the absolute path (``opened``), so that it is found from elsewhere.

    Raises ``IsthmusError`` where there is no such model, type or device.
    """
    target_dtype = None if dtype is None else dtype_named(dtype)
    place = None if device is None else device_named(device)
    if spec in RESIDENTS:
        return resident(spec).to(dtype=target_dtype, device=place)
    path = Path(spec).expanduser()
    if os.path.exists(path) or ":" not in spec:
        from isthmus.language.hub import open_hub

        if dtype is None:
            target_dtype = torch.float32
        folder = path.absolute() if os.path.isdir(path) else None
        return open_hub(spec, folder, target_dtype).to(device=place)
    return _made(spec).to(dtype=target_dtype, device=place)


def _made(spec: str) -> LanguageModel:
    model = made_by(spec)
    if isinstance(model, LanguageModel):
        known = model.name in (*RESIDENTS, spec) or model.opened
        return model if known else replace(model, opened=spec)
    if not isinstance(model, nn.Module) or not isinstance(
        getattr(model, "tokenizer", None), Tokenizer
    ):
        raise IsthmusError(
            f"{spec!r} gives neither a LanguageModel nor an nn.Module with a tokenizer that has "
            "encode, decode, pieces, vocabulary, bos and special: return one of these"
        )
    tokenizer: Any = model.tokenizer
    return LanguageModel(
        name=spec,
        revision=fingerprint(model),
        module=model.eval(),
        tokenizer=tokenizer,
        context=int(getattr(model, "context", 256)),
        causal=bool(getattr(model, "causal", True)),
        unembedding=getattr(model, "unembedding", None),
        layers=getattr(model, "layers_path", None) or blocks(model),
    )
