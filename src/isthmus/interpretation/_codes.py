"""From activations to an autoencoder's code and back, row by row, in the activations' units.

An autoencoder that reads one part of a collection and writes another, as transcoders do, is given
the part that it reads.
"""

from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Each, Signal, Tree
from isthmus.errors import IsthmusError


def part_read(autoencoder: Autoencoder) -> tuple[str | None, Signal]:
    """The name of the part of a collection that is read, and its signal; of plain data None."""
    signal, encoder = autoencoder.signal, autoencoder.encoder
    if signal.kind != "collection":
        return None, signal
    if not isinstance(encoder, Each) or len(encoder.names) != 1:
        raise IsthmusError(
            f"this autoencoder reads {', '.join(map(repr, signal.parts))} together, and one "
            "activation at a time cannot be given to it: use one that reads a single point"
        )
    name = encoder.names[0]
    return name, signal.parts[name]


def coded(autoencoder: Autoencoder, x: Tensor) -> Code:
    """The deterministic code of activations ``(rows, width)``, gradients kept."""
    name, signal = part_read(autoencoder)
    if x.shape[-1] != signal.numel:
        raise IsthmusError(
            f"the activations have {x.shape[-1]} elements and the autoencoder reads "
            f"{signal.numel}: name the point that it was trained on"
        )
    scale = autoencoder.scaler_of("read").scale
    rows: Tree = x.to(scale.device, scale.dtype).unflatten(1, signal.shape)
    if name is not None:
        rows = {name: rows}
    return autoencoder.clean_code(autoencoder.scaler(rows))


def decoded(autoencoder: Autoencoder, code: Code) -> Tensor:
    """The reconstruction from a code, ``(rows, width written)``."""
    recon = autoencoder.likelihood.mean(autoencoder.decode_code(code))
    flat: Tensor = autoencoder.unscaled(recon).flatten(1)
    return flat
