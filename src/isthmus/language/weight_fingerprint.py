"""A short name for the weights of a module."""

import hashlib

import torch
from torch import Tensor, nn

EXAMINED = 4096


def fingerprint(module: nn.Module) -> str:
    """12 hexadecimal digits from the names, shapes and values of all parameters.

    Of a large parameter 4,096 values spread over it are looked at: enough to tell one checkpoint
    from another, in a moment, but no protection against a damaged file. A model in half precision
    has the name of the same weights in float32: the type they are computed in is noted beside it.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.named_parameters()):
        digest.update(f"{name} {tuple(value.shape)} {_dtype(value)};".encode())
        flat = value.detach().reshape(-1)
        some = flat[:: max(1, flat.numel() // EXAMINED)]
        digest.update(some.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def _dtype(value: Tensor) -> torch.dtype:
    return torch.float32 if value.dtype in (torch.float16, torch.bfloat16) else value.dtype
