"""Latents' directions as files that inference servers add to the residual stream.

llama.cpp (and what is built on it) reads control vectors from a GGUF file of architecture
``controlvector``: tensors ``direction.L`` ``(d,)`` in float32, L the layer whose output they are
added to, from 1 on. Servers over vLLM take such files or safetensors of the same names.
"""

import math
import struct
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.runs import write_atomically

ENDINGS = (".gguf", ".safetensors")
_MAGIC, _VERSION, _ALIGNED = 0x46554747, 3, 32
_UINT32, _STRING, _FLOAT32 = 4, 8, 0
"""Of values and of tensors, in GGUF."""


@torch.no_grad()
def direction(model: Autoencoder, latents: Mapping[int, float]) -> Tensor:
    """What the latents write, each as many times as said, ``(d,)``, in the activations' units.

    Adding it is :class:`~isthmus.interpretation.Steering` with ``add``.
    """
    if not latents or not isinstance(latents, Mapping):
        raise IsthmusError("no latent is named: pass {latent: how much}")
    try:
        atoms = model.W_dec
    except AttributeError as problem:
        raise IsthmusError(
            f"this model is no linear dictionary ({problem}), whose latents have one direction each"
        ) from None
    for latent, amount in latents.items():
        if not isinstance(latent, Integral) or not 0 <= latent < len(atoms):
            raise IsthmusError(f"there is no latent {latent}: they go from 0 to {len(atoms) - 1}")
        if not math.isfinite(amount):
            raise IsthmusError(f"latent {latent} is to be added {amount} times: pass a number")
    total = torch.zeros(atoms.shape[1], dtype=torch.float64)
    for latent, amount in latents.items():
        total += amount * atoms[int(latent)].double().cpu()
    return total.float()


def write_control_vectors(
    directions: Mapping[int, Tensor], path: str | Path, *, model_hint: str
) -> None:
    """Write one direction a layer, ``(d,)``, for an inference server.

    directions
        By the number of the layer whose *output* they are added to, the first layer being 0: what
        a dictionary of ``model.layers.L`` reads belongs to L, as ``direction.L`` of llama.cpp does.
        It has none for layer 0, which is refused.
    path
        Ends in ``.gguf`` or ``.safetensors``.
    model_hint
        The architecture, in llama.cpp's words (``llama``, ``gemma2``, ``qwen2``).
    """
    target = Path(path)
    if target.suffix not in ENDINGS:
        raise IsthmusError(
            f"{target} does not say in which format: end it in .gguf or .safetensors"
        )
    whole = all(isinstance(layer, Integral) for layer in directions)
    if not directions or not whole or any(layer < 1 for layer in directions):
        raise IsthmusError(
            f"control vectors are added behind layers from 1 on, and these are of "
            f"{', '.join(map(str, directions)) or 'none'}: number layers, and leave layer 0 out"
        )
    shapes = {tuple(vector.shape) for vector in directions.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1 or shapes == {(0,)}:
        raise IsthmusError(f"directions have shapes {sorted(shapes)}: pass one (d,) a layer")
    if not isinstance(model_hint, str) or not model_hint:
        raise IsthmusError(
            f"model_hint={model_hint!r} is no architecture: pass one such as 'llama'"
        )
    vectors = {
        f"direction.{layer}": directions[layer].detach().cpu().float().contiguous()
        for layer in sorted(directions)
    }
    for name, vector in vectors.items():
        if not bool(vector.isfinite().all()):
            raise IsthmusError(f"{name} has entries that are no numbers of single precision")
    if target.suffix == ".gguf":
        write_atomically(target, _gguf(vectors, model_hint, max(directions) + 1))
        return
    from safetensors.torch import save

    write_atomically(target, save(vectors, metadata={"model_hint": model_hint}))


def _gguf(vectors: Mapping[str, Tensor], hint: str, layers: int) -> bytes:
    """The bytes of a GGUF file, version 3: header, values by name, where tensors lie, these."""
    values = [
        _text("general.architecture") + struct.pack("<I", _STRING) + _text("controlvector"),
        _text("controlvector.model_hint") + struct.pack("<I", _STRING) + _text(hint),
        _text("controlvector.layer_count") + struct.pack("<II", _UINT32, layers),
    ]
    about, content = b"", b""
    for name, vector in vectors.items():
        shape = struct.pack("<IQ", 1, len(vector))
        about += _text(name) + shape + struct.pack("<IQ", _FLOAT32, len(content))
        content += _padded(vector.numpy().astype("<f4").tobytes())
    head = struct.pack("<IIQQ", _MAGIC, _VERSION, len(vectors), len(values))
    return _padded(head + b"".join(values) + about) + content


def _text(value: str) -> bytes:
    content = value.encode()
    return struct.pack("<Q", len(content)) + content


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % _ALIGNED)
