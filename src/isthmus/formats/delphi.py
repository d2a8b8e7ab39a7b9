"""The cache of latents that delphi explains, written from codes: its files, without its package.

A folder a module: ``START_END.safetensors`` with the firings of the latents from START to END,
``locations`` ``(firings, 3)`` (text, place, latent less START), ``activations`` in half precision
and the ``tokens`` ``(texts, places)`` of all; ``config.json`` says of what.
"""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.formats.whole_folder import whole_folder

LEAST = 1e-5
"""Activations up to this size are no firings there."""
MOST = 65504.0
"""The largest number in half precision."""


@torch.no_grad()
def write_cache(
    batches: Iterable[tuple[Tensor, Tensor]],
    folder: str | Path,
    *,
    module: str,
    model_name: str,
    splits: int = 5,
    dataset: str = "",
    column: str = "text",
) -> Path:
    """Write what latents did on a text as delphi's cache; returns ``folder/module``.

    batches
        Pairs of ``tokens`` ``(texts, places)``, whole numbers, and ``codes`` ``(texts, places,
        latents)``, as ``encode`` gives them for activations ``(texts, places, d)``. All texts are
        of one length.
    module
        What delphi calls the place that is read: a path such as ``layers.3.mlp``.
    model_name, dataset, column
        Of the language model, whose tokenizer delphi loads by it, and of the text.
    splits
        Into how many files the latents are divided; no more than there are.

    An :class:`IsthmusError` where shapes do not fit, where a value is not finite or too large for
    half precision, and where the module's folder has files.
    """
    tokens: list[Tensor] = []
    places: list[Tensor] = []
    values: list[Tensor] = []
    texts, width = 0, 0
    for ids, codes in batches:
        width = width or codes.shape[-1]
        if codes.ndim != 3 or codes.shape[:2] != ids.shape or codes.shape[2] != width:
            raise IsthmusError(
                f"codes of shape {tuple(codes.shape)} do not fit tokens of shape "
                f"{tuple(ids.shape)} and {width} latents: pass (texts, places, latents)"
            )
        if tokens and tokens[0].shape[1] != ids.shape[1]:
            raise IsthmusError(
                f"texts of {tokens[0].shape[1]} and of {ids.shape[1]} tokens do not go into one "
                "cache of delphi: cut them to one length"
            )
        if ids.is_floating_point() or bool((ids < 0).any()):
            raise IsthmusError(
                "tokens are numbers of a vocabulary, whole and from 0 on: pass those"
            )
        at = (codes.abs() > LEAST).nonzero()
        active = codes[tuple(at.T)].float()
        if not bool((active.abs() <= MOST).all()) or not bool(codes.isfinite().all()):
            raise IsthmusError(
                "codes are not finite, or too large for the half precision of delphi's cache: "
                "divide them first"
            )
        at[:, 0] += texts
        texts += len(ids)
        tokens.append(ids.cpu().to(torch.int64))
        places.append(at.cpu())
        values.append(active.cpu())
    if not texts:
        raise IsthmusError("there is no text to write of: pass batches of tokens and codes")
    if not isinstance(splits, int) or not 1 <= splits <= width:
        raise IsthmusError(
            f"{width} latents cannot be divided into {splits}: pass splits from 1 to {width}"
        )
    if not module or set(module) & {"/", "\\"} or module in (".", ".."):
        raise IsthmusError(
            f"module={module!r} is no name of a module: pass one such as layers.3.mlp"
        )
    text = torch.cat(tokens).contiguous().numpy()
    about = {
        "dataset_repo": dataset, "dataset_split": "train", "dataset_name": "",
        "dataset_column": column, "batch_size": len(tokens[0]), "cache_ctx_len": text.shape[1],
        "n_tokens": int(text.size), "n_splits": splits, "model_name": model_name,
    }  # fmt: skip
    path = Path(folder) / module
    with whole_folder(path) as partial:
        _write(partial, text, torch.cat(places), torch.cat(values), width, splits)
        (partial / "config.json").write_text(json.dumps(about, indent=4))
    return path


def _write(path: Path, text: Any, places: Tensor, values: Tensor, width: int, splits: int) -> None:
    from safetensors.numpy import save_file

    bounds = torch.linspace(0, width, steps=splits + 1).long().tolist()
    for start, behind in pairwise(bounds):
        in_split = (places[:, 2] >= start) & (places[:, 2] < behind)
        at = places[in_split].numpy()
        at[:, 2] -= start
        small = not len(at) or int(at.max()) < 2**16
        content = {
            "locations": at.astype(np.uint16 if small else np.uint32),
            "activations": values[in_split].half().numpy(),
            "tokens": text,
        }
        save_file(content, path / f"{start}_{behind - 1}.safetensors")
