"""What a host computes in, and where: names of types and devices as people write them."""

from typing import Any

import torch
from torch import nn

from isthmus.errors import IsthmusError, unknown

_DTYPES = {
    "float32": torch.float32, "float": torch.float32, "fp32": torch.float32, "f32": torch.float32,
    "single": torch.float32, "full": torch.float32, "32": torch.float32,
    "float16": torch.float16, "half": torch.float16, "fp16": torch.float16, "f16": torch.float16,
    "16": torch.float16,
    "bfloat16": torch.bfloat16, "bf16": torch.bfloat16, "brain": torch.bfloat16,
    "float64": torch.float64, "double": torch.float64, "fp64": torch.float64, "f64": torch.float64,
}  # fmt: skip

OWN = ("auto", "own", "native")
"""Names that mean the type in which a model is stored."""


def dtype_named(name: Any) -> torch.dtype | None:
    """The dtype that a name means; None for the one that a model is stored in (``auto``)."""
    if isinstance(name, torch.dtype):
        if not name.is_floating_point:
            raise IsthmusError(
                f"dtype={str(name).removeprefix('torch.')} is no type of real numbers: use "
                "float32, bfloat16 or float16"
            )
        return name
    plain = str(name).strip().lower().removeprefix("torch.")
    if plain in OWN:
        return None
    if plain not in _DTYPES:
        raise unknown(
            "dtype of a host", name, ["float32", "bfloat16", "float16", "float64", "auto"]
        )
    return _DTYPES[plain]


def dtype_name(dtype: torch.dtype) -> str:
    """The plain name of a dtype."""
    return str(dtype).removeprefix("torch.")


def device_named(name: Any) -> torch.device:
    """The device that a name means: one of torch's, ``gpu``, or ``auto`` (a GPU where one is)."""
    if isinstance(name, torch.device):
        plain = str(name)
    else:
        plain = f"cuda:{name}" if isinstance(name, int) else str(name).strip().lower()
    best = "cuda" if torch.cuda.is_available() else "cpu"
    if best == "cpu" and torch.backends.mps.is_available():
        best = "mps"
    if plain in ("auto", ""):
        return torch.device(best)
    if plain == "gpu" or plain.startswith("gpu:"):
        plain = ("cuda" if best == "cpu" else best) + plain[3:]
    try:
        device = torch.device(plain)
    except RuntimeError:
        raise unknown("device", name, ["cpu", "cuda", "cuda:1", "mps", "auto"]) from None
    counts = {"cpu": 1, "meta": 0, "cuda": torch.cuda.device_count(),
              "mps": int(torch.backends.mps.is_available())}  # fmt: skip
    number = counts.get(device.type, 1)
    if (device.index or 0) >= number:
        raise IsthmusError(
            f"device {str(name)!r} is not there (this machine has {_counted(counts)}): use cpu, or "
            "a device that it has"
        )
    return device


def _counted(counts: dict[str, int]) -> str:
    gpus = counts["cuda"] or counts["mps"]
    return "no GPU" if not gpus else f"{gpus} GPU" + ("s" if gpus > 1 else "")


def device_of(module: nn.Module) -> torch.device:
    """Where the module's parameters (or, without any, its buffers) are."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def dtype_of(module: nn.Module) -> torch.dtype:
    """What a module computes in: the type of its first real parameter, or buffer; else float32."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32
