"""From activations to an autoencoder's code and back, row by row, in the activations' units.

An autoencoder whose rows are two points side by side (``signal.parts``) reads the first and writes
the second, as transcoders do, where its decoder returns no more than the second. An encoder that
says how much it reads (``inputs``) divides rows itself.
"""

from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Code, LinearEncoder
from isthmus.errors import IsthmusError


def _divided(autoencoder: Autoencoder) -> tuple[int, int]:
    """Elements of a row's first part, and of all the others."""
    signal = autoencoder.signal
    encoder = autoencoder.encoder
    if isinstance(encoder, LinearEncoder) and encoder.inputs is not None:
        return encoder.inputs, signal.numel - encoder.inputs
    if signal.kind == "collection" or not signal.parts:
        return signal.numel, 0
    first = next(iter(signal.parts.values())).numel
    return first, signal.numel - first


def coded(autoencoder: Autoencoder, x: Tensor) -> Code:
    """The deterministic code of activations ``(rows, width)``, gradients kept."""
    first, rest = _divided(autoencoder)
    if x.shape[-1] not in (first, first + rest):
        raise IsthmusError(
            f"the activations have {x.shape[-1]} elements and the autoencoder reads {first}: name "
            "the point that it was trained on"
        )
    scale = autoencoder.scaler.scale
    rows = F.pad(x.to(scale.device, scale.dtype), (0, first + rest - x.shape[-1]))
    return autoencoder.clean_code(autoencoder.scaler(rows.unflatten(1, autoencoder.signal.shape)))


def decoded(autoencoder: Autoencoder, code: Code) -> Tensor:
    """The reconstruction from a code, ``(rows, width written)``."""
    recon = autoencoder.likelihood.mean(autoencoder.decode_code(code))
    first, rest = _divided(autoencoder)
    if not rest or recon[0].numel() != rest:
        return autoencoder.scaler.inverse(recon).flatten(1)
    whole = F.pad(recon.flatten(1), (first, 0))
    return autoencoder.scaler.inverse(whole)[:, first:]
