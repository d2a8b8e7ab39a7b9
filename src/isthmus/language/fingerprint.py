"""A short name for the weights of a module."""

import hashlib

from torch import nn

EXAMINED = 4096


def fingerprint(module: nn.Module) -> str:
    """12 hexadecimal digits from the names, shapes and values of all parameters.

    Of a large parameter 4,096 values spread over it are looked at: enough to tell one checkpoint
    from another, in a moment, but no protection against a damaged file.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.named_parameters()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype};".encode())
        flat = value.detach().reshape(-1)
        some = flat[:: max(1, flat.numel() // EXAMINED)]
        digest.update(some.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
